"""The shared store: one PostgreSQL database for several gateways with the same payee.

Every transaction first takes an advisory lock on its payer, which serializes the claims and moves of one payer but not
those of different payers. Each worker also holds an advisory lock of its own on a dedicated connection. PostgreSQL
releases it when that connection ends, which tells the others that its payments are orphaned.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Self

import asyncpg  # type: ignore[import-untyped]

from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import Entry, State
from gateway.billing.storage import postgres_ledger, postgres_session
from gateway.billing.storage.store import NO_OWNER, CommitUnknownError, StoreUnavailableError

log = logging.getLogger(__name__)

_COMMAND_SECONDS = 15.0
"""Longest wait for a connection of the pool, and for the response to one command."""
_UPGRADE_SECONDS = 600.0
"""The same for the tables of an earlier version: 200,000 payments take ten seconds."""
_RECONNECT_SECONDS = 1.0
_CONNECTIONS = 8
_PRUNED_AT_ONCE = 5000
_CONNECTION_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""asyncpg raises the last for a connection that was closed in the middle of the protocol."""


class PostgresStore:
    """A Store in the database ``url``.

    The payments of a worker whose lock is free are adopted ``grace_seconds`` after their last move and after the lock
    was first seen free, so that a worker that only lost its connection can take the lock again.
    """

    def __init__(self, url: str, grace_seconds: float) -> None:
        self.owner = secrets.token_hex(8)
        self._url = url
        self._grace = grace_seconds
        self._pool: asyncpg.Pool
        self._lock_connection: asyncpg.Connection
        self._relock_task: asyncio.Task[None] | None = None
        self._missing_since: dict[str, float] = {}
        self._adopting: list[bytes] = []
        """Keys of payments that an adoption of unknown outcome may have made this worker's."""
        self._closed = False

    @classmethod
    async def open(cls, url: str, grace_seconds: float = 15.0) -> Self:
        """Connect, creating the tables if needed. Raises StoreUnavailableError."""
        store = cls(url, grace_seconds)
        async with _translated_errors(), AsyncExitStack() as opened:
            store._pool = await opened.enter_async_context(
                asyncpg.create_pool(
                    url,
                    min_size=0,
                    max_size=_CONNECTIONS,
                    command_timeout=_COMMAND_SECONDS,
                    init=postgres_session.set_up,
                    reset=postgres_session.keep,
                )
            )
            async with store._pool.acquire() as db, db.transaction():
                await db.execute(postgres_ledger.SCHEMA, timeout=_UPGRADE_SECONDS)
            await store._acquire_lock()
            opened.pop_all()
        return store

    async def quote_key(self, proposed: bytes) -> bytes:
        async with self._transaction(None) as db:
            return await postgres_ledger.quote_key(db, proposed)

    async def check(self) -> None:
        async with self._transaction(None) as db:
            await postgres_ledger.check(db)

    async def claim(self, entry: Entry, policy: ClaimPolicy) -> Claim:
        async with self._transaction(entry.payer) as db:
            return await postgres_ledger.claim(db, entry, policy)

    async def find(self, payment: Entry) -> Entry | None:
        async with self._transaction(payment.payer) as db:
            return await postgres_ledger.find(db, payment.key)

    async def find_all(self, keys: Collection[bytes]) -> list[Entry]:
        async with self._transaction(None) as db:
            return await postgres_ledger.find_all(db, keys)

    async def move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        async with self._transaction(payment.payer) as db:
            return await postgres_ledger.move(db, payment, to, changes)

    async def reconcile(self, payment: Entry, *, matches: int, **changes: Any) -> Entry:
        async with self._transaction(payment.payer) as db:
            return await postgres_ledger.reconcile(db, payment, matches, changes)

    async def defer_move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        return await self.move(payment, *to, **changes)

    async def adopt(self, now: float) -> list[Entry]:
        async with self._transaction(None) as db:
            await self._check_own_lock(db)
            adopted = await self._adopt_orphans(db)
            overdue = await postgres_ledger.overdue(db, self.owner, now)
            self._adopting = [entry.key for entry in adopted]
        keys, self._adopting = set(self._adopting), []
        return adopted + [entry for entry in overdue if entry.key not in keys]

    async def _adopt_orphans(self, db: Any) -> list[Entry]:
        """Reassign the unfinished and unserved payments of workers whose lock has been free for the grace period."""
        now = time.time()
        missing = await postgres_ledger.missing_owners(db, self.owner, now - self._grace)
        return await postgres_ledger.adopt(db, self._expired(missing), self.owner, self._adopting, now)

    def _expired(self, missing: list[str]) -> list[str]:
        """Those of ``missing`` whose lock this worker has seen free for longer than the grace period."""
        now = time.monotonic()
        self._missing_since = {owner: self._missing_since.get(owner, now) for owner in missing}
        return [owner for owner, since in self._missing_since.items() if owner == NO_OWNER or now - since > self._grace]

    async def restore(self, entries: list[Entry]) -> None:
        async with self._transaction(None) as db:
            await postgres_ledger.restore(db, entries)

    async def take_credit(self, payment: Entry) -> Entry | None:
        async with self._transaction(payment.payer) as db:
            return await postgres_ledger.take_credit(db, payment)

    async def prune(self, before: float, released_before: float) -> int:
        """In steps, each of which ends within the time limit of a command."""
        pruned = 0
        while count := await self._prune_some(before, released_before):
            pruned += count
        return pruned

    async def _prune_some(self, before: float, released_before: float) -> int:
        async with self._transaction(None) as db:
            return await postgres_ledger.prune(db, before, released_before, _PRUNED_AT_ONCE)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._relock_task is not None:
            self._relock_task.cancel()
        self._lock_connection.remove_termination_listener(self._on_connection_lost)
        for end in (self._lock_connection.close, self._pool.close):
            with suppress(*_CONNECTION_ERRORS):
                await end()

    async def _acquire_lock(self) -> None:
        """Take this worker's lock on a dedicated connection."""
        connection = await asyncpg.connect(self._url, command_timeout=_COMMAND_SECONDS)
        try:
            await postgres_session.set_up(connection)
            await connection.execute("SELECT pg_advisory_lock($1)", postgres_ledger.lock_key(self.owner.encode()))
        except BaseException:
            await connection.close(timeout=_COMMAND_SECONDS)
            raise
        self._lock_connection = connection
        connection.add_termination_listener(self._on_connection_lost)

    async def _check_own_lock(self, db: Any) -> None:
        """Take the lock again if it is free: its connection may have ended without this side being told."""
        if not self._lock_connection.is_closed() and await postgres_ledger.is_lock_free(db, self.owner):
            self._lock_connection.terminate()

    def _on_connection_lost(self, _connection: object) -> None:
        if not self._closed:
            log.warning("journal database lost")
            self._relock_task = asyncio.create_task(self._reacquire_lock())

    async def _reacquire_lock(self) -> None:
        while True:
            try:
                await self._acquire_lock()
            except _CONNECTION_ERRORS:
                await asyncio.sleep(_RECONNECT_SECONDS)
            else:
                log.info("journal database connected again")
                return

    @asynccontextmanager
    async def _transaction(self, payer: bytes | None) -> AsyncIterator[Any]:
        """A transaction, exclusive for ``payer`` if given."""
        if self._closed:
            raise StoreUnavailableError("the journal is closed")
        done = False
        try:
            async with _translated_errors(), self._pool.acquire(timeout=_COMMAND_SECONDS) as db, db.transaction():
                if payer is not None:
                    await postgres_ledger.lock_payer(db, payer)
                yield db
                done = True
        except StoreUnavailableError as error:
            if done:
                raise CommitUnknownError(str(error)) from error
            raise


@asynccontextmanager
async def _translated_errors() -> AsyncIterator[None]:
    try:
        yield
    except _CONNECTION_ERRORS as error:
        raise StoreUnavailableError(f"journal database: {type(error).__name__}") from error
