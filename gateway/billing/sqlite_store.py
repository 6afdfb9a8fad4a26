"""The embedded store: one SQLite file for all workers of a host.

One thread per process owns the connection and commits whatever has queued up in a single transaction, so that the
price of a disk flush is shared by all requests of that moment and none is paid on the event loop. WAL lets the other
processes read and queue meanwhile. A worker holds a lock on a file of its own for as long as it lives; the kernel
lets go of it however the worker ends, which is how the others know that its payments are orphaned.
"""

import asyncio
import fcntl
import os
import queue
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from gateway.billing import sqlite_ledger
from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import Entry, State
from gateway.billing.store import StoreUnavailableError

T = TypeVar("T")

_BATCH = 256
_BUSY_SECONDS = 15.0
_LOST = "lost"


class _Step:
    """One operation that waits for its commit."""

    __slots__ = ("future", "outcome", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any], future: "asyncio.Future[Any]") -> None:
        self.work = work
        self.future = future
        self.outcome: Any = None

    def run(self, db: sqlite3.Connection) -> None:
        """Does the work or leaves no trace of it."""
        db.execute("SAVEPOINT step")
        try:
            self.outcome = self.work(db)
        except Exception as error:
            self.outcome = StoreUnavailableError(f"journal: {error}") if isinstance(error, sqlite3.Error) else error
            db.execute("ROLLBACK TO step")
        db.execute("RELEASE step")

    def tell(self) -> None:
        if self.future.cancelled():
            return
        if isinstance(self.outcome, Exception):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)


class SqliteStore:
    """A Store in the file ``path``. Made on a running event loop; raises StoreUnavailableError."""

    def __init__(self, path: Path) -> None:
        self.owner = secrets.token_hex(8)
        self._loop = asyncio.get_running_loop()
        self._steps: queue.SimpleQueue[_Step | None] = queue.SimpleQueue()
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

    async def claim(self, entry: Entry, policy: ClaimPolicy) -> Claim:
        return await self._run(partial(sqlite_ledger.claim, entry=entry, policy=policy))

    async def move(self, key: bytes, *to: State, **changes: Any) -> Entry:
        return await self._run(partial(sqlite_ledger.move, key=key, to=to, changes=changes))

    async def adopt(self, now: float) -> list[Entry]:
        return await self._run(partial(self._adopt, now=now))

    async def restore(self, entries: list[Entry]) -> None:
        await self._run(partial(sqlite_ledger.restore, entries=entries, owner=_LOST))

    async def add_credit(self, payer: bytes, asset: str, amount: int) -> None:
        await self._run(partial(sqlite_ledger.add_credit, payer=payer, asset=asset, amount=amount))

    async def take_credit(self, payer: bytes, asset: str, amount: int) -> bool:
        return await self._run(partial(sqlite_ledger.take_credit, payer=payer, asset=asset, amount=amount))

    async def prune(self, before: float) -> int:
        return await self._run(partial(sqlite_ledger.prune, before=before))

    async def close(self) -> None:
        """Commits what is queued and lets go of the worker's lock."""
        if not self._closed:
            self._closed = True
            self._steps.put(None)
            await asyncio.to_thread(self._thread.join)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StoreUnavailableError("the journal is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._steps.put(_Step(work, future))
        return await future

    # In threads of its own -------------------------------------------------------------------------------------

    def _prepare(self) -> tuple[sqlite3.Connection, IO[bytes]]:
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            lock = self._lock.open("xb")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with _alone_in(self._locks):
                db = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(f"BEGIN IMMEDIATE; {sqlite_ledger.SCHEMA} COMMIT;")
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailableError(f"journal {self._path}: {error}") from error
        return db, lock

    def _work(self, db: sqlite3.Connection, lock: IO[bytes]) -> None:
        last = False
        while not last and (step := self._steps.get()) is not None:
            steps, last = self._gather(step)
            self._commit(db, steps)
            with suppress(RuntimeError):  # a loop that is closed has nobody waiting
                self._loop.call_soon_threadsafe(_tell, steps)
        db.close()
        self._lock.unlink(missing_ok=True)
        lock.close()

    def _gather(self, first: _Step) -> tuple[list[_Step], bool]:
        """What is queued besides ``first``, and whether the store is to close after it."""
        steps = [first]
        while len(steps) < _BATCH:
            try:
                step = self._steps.get_nowait()
            except queue.Empty:
                break
            if step is None:
                return steps, True
            steps.append(step)
        return steps, False

    def _commit(self, db: sqlite3.Connection, steps: list[_Step]) -> None:
        try:
            db.execute("BEGIN IMMEDIATE")
            for step in steps:
                step.run(db)
            db.execute("COMMIT")
        except sqlite3.Error as error:
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


def _tell(steps: list[_Step]) -> None:
    for step in steps:
        step.tell()
