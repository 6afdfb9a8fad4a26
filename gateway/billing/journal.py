"""The life of one payment, as a table, and the record of it that outlives the process.

    RESERVED ──► VERIFIED ──► SERVING ──► SETTLING ──► SETTLED ──► SERVED (upfront: its work is over)
       │  │          │           │            ├──────► PENDING ──► SETTLED | FAILED
       │  ├──────────┼───────────┴► WAIVED    └──────► FAILED
       │  └──────────┴──► RELEASED ──► RESERVED
       └► SETTLING (upfront: settled before the work)

A payment is *consumed* once work was done for it, however that ended: its nonce may be unused on the chain, so it
must be remembered until the payer's deadline (facts/x402.md 1.10.9). Only a released one may come again, and only the
worker that claimed it can know that nothing was done for it: what a lost worker leaves before SETTLING is waived. What
it was paid upfront for and did not finish, or took credit for, is credited in the move that ends it.
"""

import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from functools import reduce
from typing import Any

import msgspec


class State(StrEnum):
    RESERVED = "reserved"
    VERIFIED = "verified"
    SERVING = "serving"
    SETTLING = "settling"
    SETTLED = "settled"
    SERVED = "served"
    PENDING = "pending"
    FAILED = "failed"
    WAIVED = "waived"
    RELEASED = "released"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.RESERVED: frozenset({State.VERIFIED, State.SETTLING, State.RELEASED, State.WAIVED}),
    State.VERIFIED: frozenset({State.SERVING, State.RELEASED, State.WAIVED}),
    State.SERVING: frozenset({State.SETTLING, State.WAIVED}),
    State.SETTLING: frozenset({State.SETTLED, State.PENDING, State.FAILED}),
    State.PENDING: frozenset({State.SETTLED, State.FAILED}),
    State.SETTLED: frozenset({State.SERVED}),
    State.SERVED: frozenset(),
    State.FAILED: frozenset(),
    State.WAIVED: frozenset(),
    State.RELEASED: frozenset({State.RESERVED}),
}

BEFORE_SETTLING = frozenset({State.RESERVED, State.VERIFIED, State.SERVING})
"""Nothing can have been charged yet."""

UNFINISHED = BEFORE_SETTLING | {State.SETTLING, State.PENDING}
"""Somebody still has to bring these to an end; their caps are what a payer has outstanding."""

UNSERVED = "unserved"
"""In stores' rows: paid upfront, and its work is not over."""

CHANGES_STANDING = frozenset({State.SETTLED, State.FAILED})
"""Only these change a payer's standing."""


class IllegalTransitionError(Exception):
    """A payment was to be moved where its state does not lead."""

    def __init__(self, origin: State, to: State) -> None:
        super().__init__(f"a payment cannot move from {origin.value} to {to.value}")
        self.origin = origin
        self.to = to


class TransferAlreadyMatchedError(Exception):
    """Other payments stand by every transfer of a transaction that could be this one's."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One payment. Amounts are atomic units of ``asset``, times Unix seconds.

    ``key`` is the claim's (authorization.claim_key); ``owner`` the worker that has to finish it. ``cap`` is what the
    payer signed, ``amount`` what is asked of it, frozen when SETTLING begins; ``settled_amount`` what was paid.
    ``payment`` and ``requirements`` are what a facilitator is sent, so that anyone can settle it; ``job`` is its
    queue's name for the settlement. ``note`` explains an end without money, ``payers_fault`` whose fault that was.
    ``by_credit`` when earlier credit pays it, ``credited`` what its end gave back to the payer's credit.
    """

    key: bytes
    owner: str
    payer: bytes
    asset: str
    scheme: str
    cap: int
    cap_usd: Decimal
    rate: Decimal
    deadline: int
    payment: dict[str, Any]
    requirements: dict[str, Any]
    upfront: bool = False
    state: State = State.RESERVED
    updated: float = msgspec.field(default_factory=time.time)
    amount: int | None = None
    cost_usd: Decimal | None = None
    settled_amount: int | None = None
    transaction: str = ""
    job: str = ""
    note: str = ""
    payers_fault: bool = False
    by_credit: bool = False
    credited: int = 0
    usage: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """Short name in logs; tells nothing that the chain does not."""
        return self.key[-32:].hex()[:16]

    @property
    def unserved(self) -> bool:
        """Paid upfront, and its work is not over: credited when the worker that does it is lost."""
        return self.upfront and self.state is State.SETTLED

    @property
    def row_state(self) -> str:
        """What stores look it up by: its state, or UNSERVED."""
        return UNSERVED if self.unserved else self.state.value

    @property
    def amount_usd(self) -> Decimal:
        """USD value of what was asked for, at the frozen rate."""
        return self.cap_usd * (self.amount or 0) / self.cap if self.cap else Decimal(0)

    def transition(self, to: State, **changes: Any) -> "Entry":
        """The entry in its next state; raises IllegalTransitionError."""
        if to not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(self.state, to)
        return msgspec.structs.replace(self, state=to, updated=time.time(), **changes)

    def transition_through(self, states: Iterable[State], changes: dict[str, Any]) -> "Entry":
        """The entry after several moves in order; raises IllegalTransitionError."""
        entry = self
        for state in states:
            entry = entry.transition(state, **changes)
        return entry


class Standing(msgspec.Struct, frozen=True):
    """What is known of a payer, in USD: all that it has settled, and what it owes for answers it did not pay."""

    settled: Decimal = Decimal(0)
    debt: Decimal = Decimal(0)

    def after(self, entry: Entry) -> "Standing":
        """The standing once ``entry`` has ended. Paying upfront works a debt off."""
        if entry.state is State.SETTLED:
            debt = max(Decimal(0), self.debt - entry.amount_usd) if entry.upfront else self.debt
            return Standing(self.settled + entry.amount_usd, debt)
        if entry.state is State.FAILED and entry.payers_fault and not entry.upfront:
            return Standing(self.settled, self.debt + entry.amount_usd)
        return self

    def after_all(self, entries: Iterable[Entry]) -> "Standing":
        """The standing once ``entries`` have ended, one after the other."""
        return reduce(Standing.after, entries, self)


def require_unmatched_transfer(
    payment: Entry, others: Iterable[Entry], matches: int, changes: Mapping[str, Any]
) -> None:
    """Raise TransferAlreadyMatchedError if ``others`` already account for every transfer that could be ``payment``'s.

    ``others`` are the payer's entries; ``matches`` counts the transfers in ``changes["transaction"]`` whose amount is
    ``changes["settled_amount"]``.
    """
    paid = changes["transaction"], changes["settled_amount"]
    spent = [
        other
        for other in others
        if other.key != payment.key
        and other.state in (State.SETTLED, State.SERVED)
        and (other.transaction.lower(), other.settled_amount) == paid
    ]
    if len(spent) >= matches:
        raise TransferAlreadyMatchedError


def standing_changes(entries: Iterable[Entry]) -> dict[bytes, list[Entry]]:
    """What of ``entries`` counts in its payer's standing, by payer, in the order in which it came to its end.

    What was served after it had been paid counts as what it was by then.
    """
    ended: dict[bytes, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.updated):
        paid = msgspec.structs.replace(entry, state=State.SETTLED) if entry.state is State.SERVED else entry
        if paid.state in CHANGES_STANDING:
            ended.setdefault(paid.payer, []).append(paid)
    return ended


def remaining_credit(entries: Iterable[Entry]) -> dict[tuple[bytes, str], int]:
    """What the payments of ``entries`` left of credit, by payer and asset, in atomic units.

    The payment that a credit came from may be forgotten sooner than the one that used it up.
    """
    left: dict[tuple[bytes, str], int] = {}
    for entry in entries:
        owner = entry.payer, entry.asset
        left[owner] = left.get(owner, 0) + entry.credited - (entry.cap if entry.by_credit else 0)
    return {owner: amount for owner, amount in left.items() if amount > 0}


encode_entry = msgspec.json.Encoder().encode
decode_entry = msgspec.json.Decoder(Entry).decode
