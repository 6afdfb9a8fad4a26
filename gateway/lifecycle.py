"""The life of one request, as a table.

Nothing else decides in which order money, work and signature happen: a move that is not in the table is a bug, and
there is one error for it. The diagram in docs/lifecycle.md is made from this table.
"""

from enum import StrEnum
from typing import Protocol


class State(StrEnum):
    """Where a request is."""

    RECEIVED = "received"
    ADMITTED = "admitted"
    DISPATCHED = "dispatched"
    ANSWERING = "answering"
    SIGNED = "signed"
    SETTLING = "settling"
    SETTLED = "settled"
    RELEASED = "released"
    REFUSED = "refused"

    __hash__ = str.__hash__  # Enum's own is a Python function, and every move looks two states up


TRANSITIONS: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.ADMITTED, State.REFUSED}),
    State.ADMITTED: frozenset({State.DISPATCHED, State.RELEASED}),
    State.DISPATCHED: frozenset({State.ANSWERING, State.RELEASED}),
    State.ANSWERING: frozenset({State.SIGNED, State.RELEASED}),
    State.SIGNED: frozenset({State.SETTLING}),
    State.SETTLING: frozenset({State.SETTLED, State.REFUSED}),
    State.SETTLED: frozenset(),
    State.RELEASED: frozenset(),
    State.REFUSED: frozenset(),
}

MEANINGS: dict[State, str] = {
    State.RECEIVED: "parsed and validated; nothing owed, nothing spent",
    State.ADMITTED: "the payment is claimed and verified, or payments are off",
    State.DISPATCHED: "the upstream call is under way",
    State.ANSWERING: "output has arrived",
    State.SIGNED: "metered, priced and signed: the amount is frozen",
    State.SETTLING: "handed to the payment, whose own journal knows settled, pending and failed",
    State.SETTLED: "the payment took the bill",
    State.RELEASED: "nothing chargeable was delivered: nothing is charged, and what was paid upfront is credited",
    State.REFUSED: "answered with an error before work, or the answer withheld because it was not paid",
}


class IllegalTransitionError(Exception):
    """A request was about to do something out of order."""


class Record(Protocol):
    """Where a request's state is written down for its log line."""

    state: str | None


class Lifecycle:
    """One request's place in the table; ``record`` is told of it."""

    __slots__ = ("_record", "state")

    def __init__(self, record: Record) -> None:
        self._record = record
        self.state = State.RECEIVED

    def move(self, to: State) -> None:
        """Go on to ``to``; raises IllegalTransitionError when the table does not allow it."""
        if to not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"{self.state} → {to}")
        self.state = self._record.state = to

    @property
    def ended(self) -> bool:
        return not TRANSITIONS[self.state]


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.RECEIVED}"]
    for state, targets in TRANSITIONS.items():
        lines += [f"    {state} --> {target}" for target in sorted(targets)] or [f"    {state} --> [*]"]
    return "\n".join(lines) + "\n"
