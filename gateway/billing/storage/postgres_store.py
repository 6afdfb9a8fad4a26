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
from decimal import Decimal
from typing import Any, Self

import asyncpg  # type: ignore[import-untyped]
import msgspec

from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import (
    BEFORE_SETTLING,
    UNFINISHED,
    UNSERVED,
    Entry,
    State,
    decode_entry,
    decode_unfinished,
    encode_entry,
    require_unmatched_transfer,
)
from gateway.billing.standing import Standing, remaining_credit, standing_changes
from gateway.billing.storage import postgres_session
from gateway.billing.storage.store import NO_OWNER, CommitUnknownError, StoreUnavailableError
from gateway.keccak import keccak256

log = logging.getLogger(__name__)

_UNFINISHED = [state.value for state in UNFINISHED]
_BEFORE_SETTLING, _ADOPTABLE = (
    ", ".join(f"'{state}'" for state in sorted(states)) for states in (BEFORE_SETTLING, {*UNFINISHED, UNSERVED})
)
"""As literals: with parameters, a plan that PostgreSQL keeps cannot use a partial index."""
_COMMAND_SECONDS = 15.0
"""Longest wait for a connection of the pool, and for the response to one command."""
_UPGRADE_SECONDS = 600.0
"""The same for the tables of an earlier version: 200,000 payments take ten seconds."""
_RECONNECT_SECONDS = 1.0
_CONNECTIONS = 8
_PRUNED_AT_ONCE = 5000
_CONNECTION_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""asyncpg raises the last for a connection that was closed in the middle of the protocol."""

_SCHEMA = f"""
SELECT pg_advisory_xact_lock(7402402402);
CREATE TABLE IF NOT EXISTS gateway_payments (
    key bytea PRIMARY KEY, payer bytea NOT NULL, owner text NOT NULL, state text NOT NULL, deadline bigint NOT NULL,
    updated double precision NOT NULL, entry bytea NOT NULL, transaction bytea NOT NULL DEFAULT ''
);
DO $$ BEGIN -- to a table of an earlier version only: it waits for a backup to end, and everybody for it
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'gateway_payments'::regclass AND attname = 'transaction'
    ) THEN
        ALTER TABLE gateway_payments ADD COLUMN transaction bytea NOT NULL DEFAULT '';
        UPDATE gateway_payments SET transaction = convert_to(lower(
            split_part(split_part(convert_from(entry, 'UTF8'), '"transaction":"', 2), '"', 1)), 'UTF8');
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS gateway_payments_payer ON gateway_payments (payer, state);
CREATE INDEX IF NOT EXISTS gateway_payments_paid ON gateway_payments (payer, transaction) WHERE transaction <> '';
CREATE INDEX IF NOT EXISTS gateway_payments_adoptable ON gateway_payments (owner) WHERE state IN ({_ADOPTABLE});
CREATE INDEX IF NOT EXISTS gateway_payments_deadline ON gateway_payments (deadline);
CREATE INDEX IF NOT EXISTS gateway_payments_released ON gateway_payments (deadline) WHERE state = 'released';
CREATE TABLE IF NOT EXISTS gateway_payers (payer bytea PRIMARY KEY, settled numeric NOT NULL, debt numeric NOT NULL);
CREATE TABLE IF NOT EXISTS gateway_credits (
    payer bytea, asset text, amount numeric NOT NULL, PRIMARY KEY (payer, asset)
);
CREATE TABLE IF NOT EXISTS gateway_keys (name text PRIMARY KEY, value bytea NOT NULL);
"""  # noqa: S608
_INSERT = "INSERT INTO gateway_payments VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"


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
                await db.execute(_SCHEMA, timeout=_UPGRADE_SECONDS)
            await store._acquire_lock()
            opened.pop_all()
        return store

    async def quote_key(self, proposed: bytes) -> bytes:
        async with self._transaction(None) as db:
            await db.execute("INSERT INTO gateway_keys VALUES ('quotes', $1) ON CONFLICT DO NOTHING", proposed)
            key: bytes = await db.fetchval("SELECT value FROM gateway_keys WHERE name = 'quotes'")
            return key

    async def check(self) -> None:
        async with self._transaction(None) as db:
            await db.execute("UPDATE gateway_keys SET value = value WHERE name = 'quotes'")

    async def claim(self, entry: Entry, policy: ClaimPolicy) -> Claim:
        async with self._transaction(entry.payer) as db:
            earlier = await _find(db, entry.key)
            rows = await db.fetch(
                "SELECT entry FROM gateway_payments WHERE payer = $1 AND state = ANY($2)", entry.payer, _UNFINISHED
            )
            claimed = policy.admit(
                entry,
                None if earlier is None else earlier.state,
                [decode_unfinished(row["entry"]) for row in rows],
                await _standing(db, entry.payer),
            )
            await _write(db, entry)
            return claimed

    async def find(self, payment: Entry) -> Entry | None:
        async with self._transaction(payment.payer) as db:
            return await _find(db, payment.key)

    async def find_all(self, keys: Collection[bytes]) -> list[Entry]:
        async with self._transaction(None) as db:
            rows = await db.fetch("SELECT entry FROM gateway_payments WHERE key = ANY($1)", list(keys))
            return [decode_entry(row["entry"]) for row in rows]

    async def move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        async with self._transaction(payment.payer) as db:
            return await _move(db, payment, to, changes)

    async def reconcile(self, payment: Entry, *, matches: int, **changes: Any) -> Entry:
        async with self._transaction(payment.payer) as db:
            rows = await db.fetch(
                "SELECT entry FROM gateway_payments WHERE payer = $1 AND transaction = $2 AND transaction <> ''",
                payment.payer,
                changes["transaction"].encode(),
            )
            require_unmatched_transfer(payment, (decode_entry(row["entry"]) for row in rows), matches, changes)
            return await _move(db, payment, (State.SETTLED,), changes)

    async def defer_move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        return await self.move(payment, *to, **changes)

    async def adopt(self, now: float) -> list[Entry]:
        async with self._transaction(None) as db:
            await self._check_own_lock(db)
            adopted = await self._adopt_orphans(db)
            rows = await db.fetch(
                f"SELECT entry FROM gateway_payments WHERE state IN ({_BEFORE_SETTLING})"  # noqa: S608
                " AND owner = $1 AND deadline < $2",
                self.owner,
                int(now),
            )
            self._adopting = [entry.key for entry in adopted]
        keys, self._adopting = set(self._adopting), []
        return adopted + [entry for row in rows if (entry := decode_entry(row["entry"])).key not in keys]

    async def _adopt_orphans(self, db: Any) -> list[Entry]:
        """Reassign the unfinished and unserved payments of workers whose lock has been free for the grace period."""
        rows = await db.fetch(
            f"SELECT DISTINCT owner FROM gateway_payments WHERE state IN ({_ADOPTABLE})"  # noqa: S608
            " AND owner <> $1 AND updated < $2",
            self.owner,
            time.time() - self._grace,
        )
        gone = self._expired([row["owner"] for row in rows if await _is_lock_free(db, row["owner"])])
        orphans = await db.fetch(
            f"SELECT entry FROM gateway_payments WHERE state IN ({_ADOPTABLE})"  # noqa: S608
            " AND (owner = ANY($1) OR (owner = $2 AND key = ANY($3))) FOR UPDATE",
            gone,
            self.owner,
            self._adopting,
        )
        adopted = [
            msgspec.structs.replace(decode_entry(row["entry"]), owner=self.owner, updated=time.time())
            for row in orphans
        ]
        for entry in adopted:
            await _write(db, entry)
        return adopted

    def _expired(self, missing: list[str]) -> list[str]:
        """Those of ``missing`` whose lock this worker has seen free for longer than the grace period."""
        now = time.monotonic()
        self._missing_since = {owner: self._missing_since.get(owner, now) for owner in missing}
        return [owner for owner, since in self._missing_since.items() if owner == NO_OWNER or now - since > self._grace]

    async def restore(self, entries: list[Entry]) -> None:
        async with self._transaction(None) as db:
            inserted = [
                entry
                for entry in entries
                if await _insert_if_absent(db, msgspec.structs.replace(entry, owner=NO_OWNER))
            ]
            for (payer, asset), amount in remaining_credit(inserted).items():
                await _add_credit(db, payer, asset, amount)
            for payer, ended in standing_changes(inserted).items():
                await db.execute("SELECT pg_advisory_xact_lock($1)", _lock_key(payer))
                await _set_standing(db, payer, (await _standing(db, payer)).after_all(ended))

    async def take_credit(self, payment: Entry) -> Entry | None:
        payer, asset = payment.payer, payment.asset
        async with self._transaction(payer) as db:
            credit = await db.fetchval(
                "SELECT amount FROM gateway_credits WHERE payer = $1 AND asset = $2", payer, asset
            )
            if credit is None or credit < payment.cap:
                return None
            await _add_credit(db, payer, asset, -payment.cap)
            paid = msgspec.structs.replace(payment, by_credit=True)
            await _write(db, paid)
            return paid

    async def prune(self, before: float, released_before: float) -> int:
        """In steps, each of which ends within the time limit of a command."""
        pruned = 0
        while count := await self._prune_some(before, released_before):
            pruned += count
        return pruned

    async def _prune_some(self, before: float, released_before: float) -> int:
        async with self._transaction(None) as db:
            done = await db.execute(
                "DELETE FROM gateway_payments WHERE key IN"
                " (SELECT key FROM gateway_payments WHERE deadline < $1 AND state <> ALL($2)"
                " UNION ALL SELECT key FROM gateway_payments WHERE deadline < $3 AND state = 'released' LIMIT $4)",
                int(before),
                _UNFINISHED,
                int(released_before),
                _PRUNED_AT_ONCE,
            )
            return int(done.rpartition(" ")[2])

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
            await connection.execute("SELECT pg_advisory_lock($1)", _lock_key(self.owner.encode()))
        except BaseException:
            await connection.close(timeout=_COMMAND_SECONDS)
            raise
        self._lock_connection = connection
        connection.add_termination_listener(self._on_connection_lost)

    async def _check_own_lock(self, db: Any) -> None:
        """Take the lock again if it is free: its connection may have ended without this side being told."""
        if not self._lock_connection.is_closed() and await _is_lock_free(db, self.owner):
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
                    await db.execute("SELECT pg_advisory_xact_lock($1)", _lock_key(payer))
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


def _lock_key(name: bytes) -> int:
    """The 64-bit key of an advisory lock."""
    return int.from_bytes(keccak256(name)[:8], "big", signed=True)


async def _is_lock_free(db: Any, owner: str) -> bool:
    """Whether nobody holds a worker's lock; the probe takes it until the end of the transaction."""
    return bool(await db.fetchval("SELECT pg_try_advisory_xact_lock($1)", _lock_key(owner.encode())))


async def _find(db: Any, key: bytes) -> Entry | None:
    row = await db.fetchrow("SELECT entry FROM gateway_payments WHERE key = $1 FOR UPDATE", key)
    return None if row is None else decode_entry(row["entry"])


async def _move(db: Any, payment: Entry, to: tuple[State, ...], changes: dict[str, Any]) -> Entry:
    entry = await _find(db, payment.key)
    if entry is None:
        raise LookupError(f"no payment {payment.key.hex()}")
    entry = entry.transition_through(to, changes)
    await _write(db, entry)
    if "credited" in changes:
        await _add_credit(db, entry.payer, entry.asset, entry.credited)
    before = await _standing(db, entry.payer)
    if (after := before.after(entry)) != before:
        await _set_standing(db, entry.payer, after)
    return entry


async def _write(db: Any, entry: Entry) -> None:
    replacing = (
        " ON CONFLICT (key) DO UPDATE"
        " SET owner = $3, state = $4, deadline = $5, updated = $6, entry = $7, transaction = $8"
    )
    await db.execute(_INSERT + replacing, *_row(entry))


async def _insert_if_absent(db: Any, entry: Entry) -> bool:
    """Return False, with nothing written, if the entry exists, also if it is inserted concurrently."""
    done: str = await db.execute(_INSERT + " ON CONFLICT (key) DO NOTHING", *_row(entry))
    return done.endswith(" 1")


def _row(entry: Entry) -> tuple[Any, ...]:
    deadline, transaction = min(entry.deadline, 2**62), entry.transaction.lower().encode()
    row = entry.key, entry.payer, entry.owner, entry.row_state, deadline, entry.updated, encode_entry(entry)
    return *row, transaction


async def _standing(db: Any, payer: bytes) -> Standing:
    row = await db.fetchrow("SELECT settled, debt FROM gateway_payers WHERE payer = $1", payer)
    return Standing() if row is None else Standing(row["settled"], row["debt"])


async def _set_standing(db: Any, payer: bytes, standing: Standing) -> None:
    await db.execute(
        "INSERT INTO gateway_payers VALUES ($1, $2, $3) ON CONFLICT (payer) DO UPDATE SET settled = $2, debt = $3",
        payer,
        standing.settled,
        standing.debt,
    )


async def _add_credit(db: Any, payer: bytes, asset: str, amount: int) -> None:
    await db.execute(
        "INSERT INTO gateway_credits VALUES ($1, $2, $3)"
        " ON CONFLICT (payer, asset) DO UPDATE SET amount = gateway_credits.amount + $3",
        payer,
        asset,
        Decimal(amount),
    )
