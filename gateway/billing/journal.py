"""The state machine of a payment, and its journal entry, which outlives the process.

    RESERVED ──► VERIFIED ──► SERVING ──► SETTLING ──► SETTLED ──► SERVED (upfront: work done)
       │  │          │           │            ├──────► PENDING ──► SETTLED | FAILED
       │  ├──────────┼───────────┴► WAIVED    └──────► FAILED
       │  └──────────┴──► RELEASED ──► RESERVED
       └► SETTLING (upfront: settled before the work)

A payment is *consumed* once work was done for it, whatever the outcome: its nonce may be unused on the chain, so it is
kept until the payer's deadline (facts/x402.md 1.10.9). Only a released payment may be presented again, and only the
worker that claimed it can know that no work was done: an entry that a lost worker leaves before SETTLING is waived. An
unfinished upfront payment, or one covered by credit, is credited in the transition that ends it.
"""

import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from gateway.billing.x402 import ForwardedPayment


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
"""States in which nothing can have been charged."""

UNFINISHED = BEFORE_SETTLING | {State.SETTLING, State.PENDING}
"""Non-final states; the caps of these entries are the payer's exposure."""

PAID = (State.SETTLED, State.SERVED)
"""States of entries whose transfer was made."""

UNSERVED = "unserved"
"""The row state of an entry that was paid upfront and is still being served."""


class IllegalTransitionError(Exception):
    """The state machine has no such transition."""

    def __init__(self, origin: State, to: State) -> None:
        super().__init__(f"a payment cannot move from {origin.value} to {to.value}")
        self.origin = origin
        self.to = to


class TransferAlreadyMatchedError(Exception):
    """Every transfer that could be this payment's is already matched to another payment."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One payment. Amounts are in atomic units of ``asset`` (terms.asset_id), times in Unix seconds.

    ``key`` is the claim key (authorization.claim_key), ``owner`` the worker responsible for the payment. ``cap`` is the
    signed amount, ``amount`` the amount to settle, frozen at SETTLING, ``settled_amount`` the amount transferred.
    ``payment`` is what the facilitator needs, so that any worker can settle it; ``job`` is the facilitator's id of a
    queued settlement. ``by_contract`` if the signature is not of the payer's own key. ``note`` is the reason of an end
    without settlement, ``payers_fault`` whether the payer caused it. ``by_credit`` if earlier credit covers the
    payment, ``credited`` the amount that its end added to the payer's credit.
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
    payment: ForwardedPayment
    upfront: bool = False
    by_contract: bool = False
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
        """The first 8 bytes of the nonce, for logs; reveals nothing that is not on the chain."""
        return self.key[48:56].hex()

    @property
    def nonce_contract(self) -> bytes:
        """The contract that tracks the nonce: Permit2, or the token for EIP-3009."""
        return self.key[8:28]

    @property
    def nonce(self) -> bytes:
        """32 bytes."""
        return self.key[48:]

    @property
    def network(self) -> str:
        """CAIP-2 id."""
        return self.asset.partition("/")[0]

    @property
    def token(self) -> str:
        """The token contract's address in lower case."""
        return self.asset.partition("/")[2]

    @property
    def reason(self) -> str:
        """The reason code of an end without settlement: ``note`` without its message."""
        return self.note.partition(":")[0]

    @property
    def unserved(self) -> bool:
        """Paid upfront and still being served; credited if its worker is lost."""
        return self.upfront and self.state is State.SETTLED

    @property
    def row_state(self) -> str:
        """The state that stores index: that of the entry, or UNSERVED."""
        return UNSERVED if self.unserved else str(self.state)

    @property
    def amount_usd(self) -> Decimal:
        """USD value of ``amount`` at the frozen rate."""
        return self.cap_usd * (self.amount or 0) / self.cap if self.cap else Decimal(0)

    def uncharged_end(self, note: str) -> tuple[State, dict[str, Any]]:
        """The state and changes that end a claimed payment without a charge.

        What the payer paid upfront, or the credit that covered it, becomes credit (facts/x402.md 4 row 23).
        """
        if self.unserved:
            return State.SERVED, {"note": f"credited: {note}", "credited": self.cap}
        return State.WAIVED, {"note": note, "credited": self.cap} if self.by_credit else {"note": note}

    def transition(self, to: State, **changes: Any) -> "Entry":
        """The entry in its next state; raises IllegalTransitionError."""
        return self.transition_through((to,), changes)

    def transition_through(self, states: Iterable[State], changes: dict[str, Any]) -> "Entry":
        """The entry after several transitions in order; raises IllegalTransitionError."""
        state = self.state
        for to in states:
            if to not in TRANSITIONS[state]:
                raise IllegalTransitionError(state, to)
            state = to
        return msgspec.structs.replace(self, state=state, updated=time.time(), **changes)


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
        and other.state in PAID
        and (other.transaction.lower(), other.settled_amount) == paid
    ]
    if len(spent) >= matches:
        raise TransferAlreadyMatchedError


class UnfinishedPayment(msgspec.Struct, frozen=True, gc=False):
    """What of an unfinished entry counts for its payer's next claim. A payer may have thousands."""

    asset: str
    cap: int
    cap_usd: Decimal


encode_entry = msgspec.json.Encoder().encode
decode_entry = msgspec.json.Decoder(Entry).decode
decode_unfinished = msgspec.json.Decoder(UnfinishedPayment).decode
