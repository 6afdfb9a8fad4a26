"""Where claims and the journal are kept: what a store promises, whatever it is made of."""

from typing import Any, Protocol

from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import Entry, State


class StoreUnavailableError(Exception):
    """The store cannot be written; nothing of what was asked for has happened."""


class Store(Protocol):
    """Shared by all workers that take payments for one payee. Every method is one atomic, durable transaction.

    Each may raise StoreUnavailableError. ``owner`` names this worker in the entries that it claims.
    """

    @property
    def owner(self) -> str: ...

    async def claim(self, entry: Entry, policy: ClaimPolicy) -> Claim:
        """Enter a RESERVED payment; raises ClaimRefusedError."""
        ...

    async def move(self, key: bytes, *to: State, **changes: Any) -> Entry:
        """Take a payment through ``to`` in order, with ``changes`` to its fields; the entry afterwards.

        Raises IllegalMoveError, and LookupError for a payment that was never claimed.
        """
        ...

    async def adopt(self, now: float) -> list[Entry]:
        """Unfinished payments that nobody looks after any more; this worker owns them from now on.

        Their worker is gone, or it let the deadline pass without settling or releasing them.
        """
        ...

    async def restore(self, entries: list[Entry]) -> None:
        """Enter payments known from elsewhere, owned by nobody, unless they are here already."""
        ...

    async def add_credit(self, payer: bytes, asset: str, amount: int) -> None:
        """Remember what a payer paid upfront and got nothing for; negative amounts take it away again."""
        ...

    async def take_credit(self, payer: bytes, asset: str, amount: int) -> bool:
        """Use up ``amount`` of the payer's credit; False, and nothing changed, when there is less."""
        ...

    async def prune(self, before: float) -> int:
        """Forget finished payments whose deadline passed before then; how many."""
        ...

    async def close(self) -> None: ...
