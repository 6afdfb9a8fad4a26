"""The states of a request and the transitions between them, as a table.

The table alone decides the order of payment, upstream call and signature: a transition that is not in it is a bug. The
diagram in docs/lifecycle.md is generated from it.
"""

from enum import StrEnum

from gateway.telemetry.request_record import RequestRecord


class State(StrEnum):
    """The state of a request."""

    RECEIVED = "received"
    ADMITTED = "admitted"
    DISPATCHED = "dispatched"
    ANSWERING = "answering"
    SIGNED = "signed"
    SETTLING = "settling"
    SETTLED = "settled"
    RELEASED = "released"
    REFUSED = "refused"

    __hash__ = str.__hash__  # Enum's own is a Python function, and every transition looks two states up


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
    State.DISPATCHED: "the upstream call is in progress",
    State.ANSWERING: "output has arrived",
    State.SIGNED: "metered, priced and signed: the amount is frozen",
    State.SETTLING: "submitted to the payment, whose own journal records settled, pending and failed",
    State.SETTLED: "the bill was accepted by the payment",
    State.RELEASED: "nothing chargeable was delivered: nothing is charged, and an upfront payment is credited",
    State.REFUSED: "refused before any work, or the answer withheld because it was not paid",
}


class IllegalTransitionError(Exception):
    """A request was about to do something out of order."""


class Lifecycle:
    """The state machine of one request; every new state is also written to ``record``."""

    __slots__ = ("_record", "state")

    def __init__(self, record: RequestRecord) -> None:
        self._record = record
        self.state = State.RECEIVED

    def transition(self, to: State) -> None:
        """Change to state ``to``; raises IllegalTransitionError if the table does not allow it."""
        if to not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"{self.state} → {to}")
        self.state = self._record.state = to


def diagram() -> str:
    """The transitions as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.RECEIVED}"]
    for state, targets in TRANSITIONS.items():
        lines += [f"    {state} --> {target}" for target in sorted(targets)] or [f"    {state} --> [*]"]
    return "\n".join(lines) + "\n"
