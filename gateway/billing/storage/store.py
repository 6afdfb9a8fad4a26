"""Where claims and the journal are kept: what a store promises, whatever it is made of."""

from collections.abc import Collection
from typing import Any, Protocol

from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import Entry, State


class StoreUnavailableError(Exception):
    """The store cannot be written; nothing of what was asked for has happened."""


class CommitUnknownError(StoreUnavailableError):
    """The store was lost while it committed: what was asked for has happened, or it has not."""


class Store(Protocol):
    """Shared by all workers that take payments for one payee. Every method is one atomic transaction, durable but for
    ``defer_move``'s.

    Each may raise StoreUnavailableError. ``owner`` names this worker in the entries that it claims.
    """

    @property
    def owner(self) -> str: ...

    async def quote_key(self, proposed: bytes) -> bytes:
        """What all gateways on this store authenticate their quotes with, now and later: what the first proposed."""
        ...

    async def claim(self, entry: Entry, policy: ClaimPolicy) -> Claim:
        """Enter a RESERVED payment; raises ClaimRefusedError."""
        ...

    async def find(self, key: bytes) -> Entry | None:
        """The payment that was claimed with ``key``; None for one that never was."""
        ...

    async def find_all(self, keys: Collection[bytes]) -> list[Entry]:
        """The payments that were claimed with ``keys``."""
        ...

    async def move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        """Move a payment through the states ``to`` in order, with ``changes`` to its fields; return the new entry.

        ``payment`` is the caller's copy; the stored entry takes precedence. A change of ``credited`` is added to the
        payer's credit. Raises IllegalTransitionError, and LookupError for a payment that was never claimed.
        """
        ...

    async def reconcile(self, payment: Entry, *, matches: int, **changes: Any) -> Entry:
        """``move`` to SETTLED a payment whose transfer was found on the chain.

        The transaction holds ``matches`` transfers that could be this payment's; each settles one payment of the payer.
        Raises TransferAlreadyMatchedError, and changes nothing, when all of them are accounted for.
        """
        ...

    async def defer_move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        """Like ``move``, for what the process may take with it when it dies: it can be written a moment later.

        Two moves are only noted, since whoever finds the payment without them ends it alike (``X402Payments._sweep``).
        SERVING: whatever is found before SETTLING is waived. SETTLED, unless upfront: what is found SETTLING with its
        amount is looked up on the chain, and settled by the identical message, of which the chain takes one.
        """
        ...

    async def adopt(self, now: float) -> list[Entry]:
        """Unfinished and unserved payments that nobody looks after any more; this worker owns them from now on.

        Their worker is gone, or it let the deadline pass without settling or releasing them.
        """
        ...

    async def restore(self, entries: list[Entry]) -> None:
        """Enter payments known from elsewhere, owned by nobody, and what they left of credit, unless they are here."""
        ...

    async def take_credit(self, payment: Entry) -> Entry | None:
        """Pay a RESERVED payment's cap by its payer's credit; None, and nothing changed, when there is less."""
        ...

    async def prune(self, before: float) -> int:
        """Forget finished payments whose deadline passed before then; how many."""
        ...

    async def close(self) -> None: ...
