"""The interface of the stores that keep claims, the payment journal and payers' credit."""

from collections.abc import Collection
from typing import Any, Protocol

from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import Entry, State

NO_OWNER = "lost"
"""Owner of restored entries: a worker that never lives, so that another one adopts them."""


class StoreUnavailableError(Exception):
    """The store cannot be used; the operation had no effect."""


class CommitUnknownError(StoreUnavailableError):
    """The store failed during the commit; the operation may or may not have taken effect."""


class Store(Protocol):
    """Shared by all workers with the same payee. Every method is one transaction, durable except for ``defer_move``.

    Every method may raise StoreUnavailableError. ``owner`` identifies this worker in the entries that it claims.
    """

    @property
    def owner(self) -> str: ...

    async def quote_key(self, proposed: bytes) -> bytes:
        """The MAC key of quotes, shared by all gateways on this store: the first key that was proposed."""
        ...

    async def check(self) -> None:
        """Write durably, to learn whether the store can be written."""
        ...

    async def claim(self, entry: Entry, policy: ClaimPolicy) -> Claim:
        """Insert a RESERVED payment. Raises ClaimRefusedError."""
        ...

    async def find(self, payment: Entry) -> Entry | None:
        """The stored entry of ``payment``, or None; waits for a transaction on its payer that is still committing."""
        ...

    async def find_all(self, keys: Collection[bytes]) -> list[Entry]:
        """The payments claimed under ``keys``."""
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
        """Like ``move``, but not durable when it returns: the write follows a moment later, or is lost in a crash.

        Used for two moves whose loss ``OrphanRecovery`` repairs. SERVING: an entry found before SETTLING is waived
        anyway. SETTLED, unless upfront: an entry found SETTLING is looked up on the chain and settled by the identical
        message, which the chain accepts only once.
        """
        ...

    async def adopt(self, now: float) -> list[Entry]:
        """Take over the unfinished and unserved payments of workers that are gone, and return them.

        Includes this worker's own claims whose deadline passed without settlement or release.
        """
        ...

    async def restore(self, entries: list[Entry]) -> None:
        """Insert payments of another journal, unowned, and their remaining credit; skip those already present."""
        ...

    async def take_credit(self, payment: Entry) -> Entry | None:
        """Cover a RESERVED payment's cap from the payer's credit; None, with nothing changed, if it is insufficient."""
        ...

    async def prune(self, before: float, released_before: float) -> int:
        """Delete finished payments whose deadline was before ``before``; return their number.

        For released ones, which cost their payer nothing, the deadline need only be before ``released_before``.
        """
        ...

    async def close(self) -> None: ...
