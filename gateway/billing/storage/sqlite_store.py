"""The embedded store: one SQLite file for all workers of a host.

Operations run on the thread of a group commit; in WAL mode other processes can read and queue meanwhile. Deferred moves
do not wake that thread: they are written with the next batch or a moment later, and a move to SERVING is coalesced with
the payment's next move if that follows soon.
"""

import asyncio
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gateway.billing.claims import AlreadyClaimedError, Claim, ClaimPolicy
from gateway.billing.journal import TRANSITIONS, Entry, State
from gateway.billing.storage import sqlite_ledger
from gateway.billing.storage.group_commit import GroupCommit, Operation
from gateway.billing.storage.store import StoreUnavailableError
from gateway.billing.storage.worker_locks import WorkerLocks

log = logging.getLogger(__name__)

T = TypeVar("T")

_BUSY_SECONDS = 15.0
_DEFER_SECONDS = 0.01
"""Longest delay of a deferred move."""
_DEFER_SERVING_SECONDS = 0.1
"""Longest delay of a deferred move to SERVING."""
_OTHERS_DEFER_SECONDS = 5 * _DEFER_SECONDS
"""By then another worker has most likely written what it deferred."""
_PRUNED_AT_ONCE = 500
_RETRY_SECONDS = 1.0
_RESERVED_BYTES = 32 * 1024 * 1024
"""Space that claims leave for what becomes of the payments. On a full disk none could be settled, nor ever be
forgotten: that needs space as well."""
_REPLACED = "journal: its file was removed or replaced while in use"
_FULL = f"journal: its disk has less than {_RESERVED_BYTES >> 20} MiB left"
_FILE_MODE = 0o600
"""The files hold signed authorizations, which anybody could submit, and payers' histories."""

_Move = tuple[Entry, tuple[State, ...], dict[str, Any]]
"""The caller's copy of an entry, the states to move it through, and changes to its fields."""


def _bind(move: _Move) -> Callable[[sqlite3.Connection], Entry]:
    payment, to, changes = move
    return partial(sqlite_ledger.move, known=payment, to=to, changes=changes)


class SqliteStore:
    """A Store in the SQLite file ``path``. Create it with ``open`` on a running event loop."""

    def __init__(self, path: Path) -> None:
        self.owner = secrets.token_hex(8)
        self._loop = asyncio.get_running_loop()
        self._batch: list[Operation] = []
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flush_scheduled = False
        self._serving: dict[bytes, _Move] = {}
        self._serving_timer: asyncio.TimerHandle | None = None
        self._path = path
        self._locks = WorkerLocks(path.with_name(f"{path.name}-workers"), self.owner)
        self._writer: GroupCommit
        self._identity: tuple[int, int] | None = None
        self._refusal: str | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        """Open the store, creating the file if needed. Raises StoreUnavailableError."""
        store = cls(path)
        db = await asyncio.to_thread(store._open_database)
        store._writer = GroupCommit(db, store._deliver, store._locks.release)
        return store

    async def quote_key(self, proposed: bytes) -> bytes:
        return await self._run(partial(sqlite_ledger.quote_key, proposed=proposed))

    async def check(self) -> None:
        await self._run(self._check)

    async def claim(self, entry: Entry, policy: ClaimPolicy) -> Claim:
        """Look twice at a payment that is settling: its worker may have answered, and deferred the move to SETTLED."""
        if self._refusal is not None:
            raise StoreUnavailableError(self._refusal)
        claim = partial(sqlite_ledger.claim, entry=entry, policy=policy)
        try:
            return await self._run(claim)
        except AlreadyClaimedError as error:
            if error.state is not State.SETTLING:
                raise
        await asyncio.sleep(_OTHERS_DEFER_SECONDS)
        return await self._run(claim)

    async def find(self, payment: Entry) -> Entry | None:
        return await self._run(partial(sqlite_ledger.find, key=payment.key))

    async def find_all(self, keys: Collection[bytes]) -> list[Entry]:
        return await self._run(partial(sqlite_ledger.find_all, keys=keys))

    async def move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        return await self._run(self._coalesce((payment, to, changes)))

    async def reconcile(self, payment: Entry, *, matches: int, **changes: Any) -> Entry:
        return await self._run(partial(sqlite_ledger.reconcile, known=payment, matches=matches, changes=changes))

    async def defer_move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        """Validate against the caller's copy of the entry; a failed write is retried until it succeeds.

        Raises IllegalTransitionError.
        """
        entry = payment.transition_through(to, changes)
        if entry.state is State.SERVING and not self._closed:
            self._serving[payment.key] = payment, to, changes
            if self._serving_timer is None:
                self._serving_timer = self._loop.call_later(_DEFER_SERVING_SECONDS, self._flush_serving)
        else:
            self._defer(Operation(self._coalesce((payment, to, changes))))
        return entry

    async def adopt(self, now: float) -> list[Entry]:
        return await self._run(partial(self._adopt, now=now))

    async def restore(self, entries: list[Entry]) -> None:
        await self._run(partial(sqlite_ledger.restore, entries=entries))

    async def take_credit(self, payment: Entry) -> Entry | None:
        return await self._run(partial(sqlite_ledger.take_credit, entry=payment))

    async def prune(self, before: float, released_before: float) -> int:
        """In steps, between which the payments of others are written: each holds the journal for a moment."""
        pruned = 0
        step = partial(sqlite_ledger.prune, before=before, released_before=released_before, limit=_PRUNED_AT_ONCE)
        while count := await self._run(step):
            pruned += count
        return pruned

    async def close(self) -> None:
        """Commit what is queued, then release the worker's lock."""
        if not self._closed:
            self._closed = True
            self._flush_serving()
            await asyncio.to_thread(self._writer.close)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StoreUnavailableError("the journal is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._batch.append(Operation(work, future))
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)
        return await future

    def _coalesce(self, move: _Move) -> Callable[[sqlite3.Connection], Entry]:
        """``move``, merged with the payment's deferred move to SERVING, or queued behind it if they do not chain."""
        payment, to, changes = move
        deferred = self._serving.pop(payment.key, None)
        if deferred is None:
            return _bind(move)
        known, before, earlier_changes = deferred
        if to[0] in TRANSITIONS[before[-1]]:
            return _bind((known, before + to, earlier_changes | changes))
        self._batch.append(Operation(_bind(deferred)))
        return _bind(move)

    def _defer(self, operation: Operation, seconds: float = _DEFER_SECONDS) -> None:
        if self._closed:
            log.error("journal write after the journal was closed")
            return
        self._batch.append(operation)
        if self._flush_timer is None:
            self._flush_timer = self._loop.call_later(seconds, self._flush)

    def _flush_serving(self) -> None:
        if self._serving_timer is not None:
            self._serving_timer.cancel()
            self._serving_timer = None
        self._batch += [Operation(_bind(move)) for move in self._serving.values()]
        self._serving.clear()
        self._flush()

    def _flush(self) -> None:
        """Hand the batch to the thread, once per event loop iteration: a wake-up costs more than most operations."""
        self._flush_scheduled = False
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if self._batch:
            self._writer.batches.put(self._batch)
            self._batch = []

    def _deliver(self, operations: list[Operation]) -> None:
        for operation in operations:
            outcome, future = operation.outcome, operation.future
            if future is None:
                if isinstance(outcome, Exception):
                    self._on_deferred_error(operation, outcome)
            elif future.cancelled():
                continue
            elif isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _on_deferred_error(self, operation: Operation, error: Exception) -> None:
        if isinstance(error, StoreUnavailableError) and not self._closed:
            log.warning("journal write delayed", extra={"reason": str(error)})
            self._defer(operation, _RETRY_SECONDS)
        else:
            log.error("deferred journal write failed", exc_info=error)

    def _open_database(self) -> sqlite3.Connection:
        try:
            with self._locks.opening():
                _create(self._path)
                db = self._connect()
                self._identity = _identity(self._path)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailableError(f"journal {self._path}: {error}") from error
        return db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(f"BEGIN IMMEDIATE; {sqlite_ledger.SCHEMA} COMMIT;")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _check(self, db: sqlite3.Connection) -> None:
        self._refusal = self._reason_to_refuse(db)
        if self._refusal is not None:
            raise StoreUnavailableError(self._refusal)
        sqlite_ledger.check(db)

    def _reason_to_refuse(self, db: sqlite3.Connection) -> str | None:
        """Why nothing may be claimed, if anything.

        Claims in a file that nobody else can open any more would not be seen by workers that start later. File systems
        without a limit, as ramfs, have no blocks.
        """
        if _identity(self._path) != self._identity:
            return _REPLACED
        disk = os.statvfs(self._path.parent)
        free = disk.f_bavail * disk.f_frsize + sqlite_ledger.free_bytes(db)
        return _FULL if disk.f_blocks and free < _RESERVED_BYTES else None

    def _adopt(self, db: sqlite3.Connection, now: float) -> list[Entry]:
        overdue = sqlite_ledger.overdue(db, self.owner, now)
        return overdue + sqlite_ledger.adopt(db, self._locks.gone(sqlite_ledger.owners(db)), self.owner)


def _create(path: Path) -> None:
    """Create an empty file; do nothing if there is one.

    Opening and closing one would release all locks that this process has on it (POSIX), as those of an earlier store:
    the next process to close it would take itself for the last one, and remove the WAL that this one still writes.
    """
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, _FILE_MODE))


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file; None if it cannot be looked up."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
