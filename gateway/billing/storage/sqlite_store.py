"""The embedded store: one SQLite file for all workers of a host.

One thread per process owns the connection and commits whatever has queued up in a single transaction, so that the
price of a disk flush is shared by all requests of that moment and none is paid on the event loop. WAL lets the other
processes read and queue meanwhile. Notes wake nobody: they are written with the next step of anyone or a moment later,
and that an answer has begun with the payment's own next step, if that comes soon.

A worker holds a lock on a file of its own for as long as it lives; the kernel lets go of it however the worker ends,
which is how the others know that its payments are orphaned.
"""

import asyncio
import fcntl
import logging
import os
import queue
import secrets
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import TRANSITIONS, Entry, State
from gateway.billing.storage import sqlite_ledger
from gateway.billing.storage.store import StoreUnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")

_BATCH = 256
_BUSY_SECONDS = 15.0
_LOST = "lost"
_NOTED_SECONDS = 0.01
"""How long a note waits for others to be written with."""
_BEGUN_SECONDS = 0.1
"""And one of a payment whose answer has begun, for the payment's own next move."""
_AGAIN_SECONDS = 1.0
_OWNERS_ONLY = 0o600
"""The files hold authorizations that anybody may hand in, and who paid for what."""


class _Step:
    """One operation and its commit, which somebody waits for unless ``future`` is None."""

    __slots__ = ("future", "outcome", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any], future: "asyncio.Future[Any] | None" = None) -> None:
        self.work = work
        self.future = future
        self.outcome: Any = None

    def run(self, db: sqlite3.Connection) -> None:
        """Does the work. What it refuses is its outcome; an error after its first write is the whole transaction's."""
        before = db.total_changes
        try:
            self.outcome = self.work(db)
        except sqlite3.Error:
            raise
        except Exception as error:
            if db.total_changes != before:
                raise
            self.outcome = error


_Move = tuple[Entry, tuple[State, ...], dict[str, Any]]
"""What is known of a payment, where it goes, and what changes on the way."""


def _moving(move: _Move) -> Callable[[sqlite3.Connection], Entry]:
    payment, to, changes = move
    return partial(sqlite_ledger.move, known=payment, to=to, changes=changes)


class SqliteStore:
    """A Store in the file ``path``. Made on a running event loop; raises StoreUnavailableError."""

    def __init__(self, path: Path) -> None:
        self.owner = secrets.token_hex(8)
        self._loop = asyncio.get_running_loop()
        self._batches: queue.SimpleQueue[list[_Step] | None] = queue.SimpleQueue()
        self._batch: list[_Step] = []
        self._due: asyncio.TimerHandle | None = None
        self._handing_over = False
        self._begun: dict[bytes, _Move] = {}
        self._begun_due: asyncio.TimerHandle | None = None
        self._path = path
        self._locks = path.with_name(f"{path.name}-workers")
        self._lock: Path = self._locks / self.owner
        self._thread: threading.Thread
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        """Creates the file when there is none."""
        store = cls(path)
        db, lock = await asyncio.to_thread(store._prepare)
        store._thread = threading.Thread(target=store._work, args=(db, lock), name="journal", daemon=True)
        store._thread.start()
        return store

    async def quote_key(self, proposed: bytes) -> bytes:
        return await self._run(partial(sqlite_ledger.quote_key, proposed=proposed))

    async def claim(self, entry: Entry, policy: ClaimPolicy) -> Claim:
        return await self._run(partial(sqlite_ledger.claim, entry=entry, policy=policy))

    async def find(self, key: bytes) -> Entry | None:
        return await self._run(partial(sqlite_ledger.find, key=key))

    async def find_all(self, keys: Collection[bytes]) -> list[Entry]:
        return await self._run(partial(sqlite_ledger.find_all, keys=keys))

    async def move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        return await self._run(self._going_on((payment, to, changes)))

    async def reconcile(self, payment: Entry, *, matches: int, **changes: Any) -> Entry:
        return await self._run(partial(sqlite_ledger.reconcile, known=payment, matches=matches, changes=changes))

    async def defer_move(self, payment: Entry, *to: State, **changes: Any) -> Entry:
        """Validate against the caller's copy of the entry; a failed write is retried until it succeeds.

        Raises IllegalTransitionError.
        """
        entry = payment.transition_through(to, changes)
        if entry.state is State.SERVING and not self._closed:
            self._begun[payment.key] = payment, to, changes
            if self._begun_due is None:
                self._begun_due = self._loop.call_later(_BEGUN_SECONDS, self._write_begun)
        else:
            self._note(_Step(self._going_on((payment, to, changes))))
        return entry

    async def adopt(self, now: float) -> list[Entry]:
        return await self._run(partial(self._adopt, now=now))

    async def restore(self, entries: list[Entry]) -> None:
        await self._run(partial(sqlite_ledger.restore, entries=entries, owner=_LOST))

    async def take_credit(self, payment: Entry) -> Entry | None:
        return await self._run(partial(sqlite_ledger.take_credit, entry=payment))

    async def prune(self, before: float) -> int:
        return await self._run(partial(sqlite_ledger.prune, before=before))

    async def close(self) -> None:
        """Commits what is queued and lets go of the worker's lock."""
        if not self._closed:
            self._closed = True
            self._write_begun()
            self._batches.put(None)
            await asyncio.to_thread(self._thread.join)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StoreUnavailableError("the journal is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._batch.append(_Step(work, future))
        if not self._handing_over:
            self._handing_over = True
            self._loop.call_soon(self._hand_over)
        return await future

    def _going_on(self, move: _Move) -> Callable[[sqlite3.Connection], Entry]:
        """``move`` behind the one that has begun its payment, as one if that is a way to go."""
        payment, to, changes = move
        begun = self._begun.pop(payment.key, None)
        if begun is None:
            return _moving(move)
        known, before, noted = begun
        if to[0] in TRANSITIONS[before[-1]]:
            return _moving((known, before + to, noted | changes))
        self._batch.append(_Step(_moving(begun)))
        return _moving(move)

    def _note(self, step: _Step, seconds: float = _NOTED_SECONDS) -> None:
        if self._closed:
            log.error("a note came after the journal was closed")
            return
        self._batch.append(step)
        if self._due is None:
            self._due = self._loop.call_later(seconds, self._hand_over)

    def _write_begun(self) -> None:
        if self._begun_due is not None:
            self._begun_due.cancel()
            self._begun_due = None
        self._batch += [_Step(_moving(move)) for move in self._begun.values()]
        self._begun.clear()
        self._hand_over()

    def _hand_over(self) -> None:
        """Give the thread what has gathered: all that one turn of the loop brought, since waking it costs more than
        most steps."""
        self._handing_over = False
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._batch:
            self._batches.put(self._batch)
            self._batch = []

    def _tell(self, steps: list[_Step]) -> None:
        for step in steps:
            outcome, future = step.outcome, step.future
            if future is None:
                if isinstance(outcome, Exception):
                    self._not_noted(step, outcome)
            elif future.cancelled():
                continue
            elif isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _not_noted(self, step: _Step, error: Exception) -> None:
        if isinstance(error, StoreUnavailableError) and not self._closed:
            log.warning("journal not written at once", extra={"reason": str(error)})
            self._note(step, _AGAIN_SECONDS)
        else:
            log.error("a note cannot be written", exc_info=error)

    # In threads of its own -------------------------------------------------------------------------------------

    def _prepare(self) -> tuple[sqlite3.Connection, IO[bytes]]:
        try:
            self._locks.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._lock.open("xb")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with _alone_in(self._locks):
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, _OWNERS_ONLY))
                db = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(f"BEGIN IMMEDIATE; {sqlite_ledger.SCHEMA} COMMIT;")
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailableError(f"journal {self._path}: {error}") from error
        return db, lock

    def _work(self, db: sqlite3.Connection, lock: IO[bytes]) -> None:
        last = False
        while not last and (steps := self._batches.get()) is not None:
            last = self._gather(steps)
            self._commit(db, steps)
            with suppress(RuntimeError):  # a loop that is closed has nobody waiting
                self._loop.call_soon_threadsafe(self._tell, steps)
        db.close()
        self._lock.unlink(missing_ok=True)
        lock.close()

    def _gather(self, steps: list[_Step]) -> bool:
        """Adds what is queued besides ``steps``; whether the store is to close after it."""
        while len(steps) < _BATCH:
            try:
                more = self._batches.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return True
            steps += more
        return False

    def _commit(self, db: sqlite3.Connection, steps: list[_Step]) -> None:
        try:
            db.execute("BEGIN IMMEDIATE")
            for step in steps:
                step.run(db)
            db.execute("COMMIT")
        except Exception as error:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            for step in steps:
                step.outcome = StoreUnavailableError(f"journal: {error}")

    def _adopt(self, db: sqlite3.Connection, now: float) -> list[Entry]:
        gone = [owner for owner in sqlite_ledger.owners(db) if owner != self.owner and not self._is_alive(owner)]
        return sqlite_ledger.adopt(db, gone, self.owner) + sqlite_ledger.abandoned(db, self.owner, now)

    def _is_alive(self, owner: str) -> bool:
        path = self._locks / owner
        try:
            with path.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        path.unlink(missing_ok=True)
        return False


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One worker at a time: of two that switch a new file to WAL at once, SQLite lets one fail without waiting."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
