"""Group commit: one thread owns a SQLite connection and commits queued operations in batches.

Concurrent requests share one fsync, and none of them blocks the event loop.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gateway.billing.storage.store import StoreUnavailableError

_BATCH = 256


class Operation:
    """One operation of a batch. ``future`` gets its outcome after the commit; None for a deferred move."""

    __slots__ = ("future", "outcome", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any], future: "asyncio.Future[Any] | None" = None) -> None:
        self.work = work
        self.future = future
        self.outcome: Any = None

    def run(self, db: sqlite3.Connection) -> None:
        """Run the operation. An error before its first write is its outcome; a later one fails the transaction."""
        before = db.total_changes
        try:
            self.outcome = self.work(db)
        except sqlite3.Error:
            raise
        except Exception as error:
            if db.total_changes != before:
                raise
            self.outcome = error


class GroupCommit:
    """Commits the ``batches`` that are put into its queue, and calls ``deliver`` with each on the event loop.

    At the end it closes ``db`` and calls ``on_closed`` on its thread. Create it on the event loop.
    """

    def __init__(
        self, db: sqlite3.Connection, deliver: Callable[[list[Operation]], None], on_closed: Callable[[], None]
    ) -> None:
        self.batches: queue.SimpleQueue[list[Operation] | None] = queue.SimpleQueue()
        self._db = db
        self._deliver = deliver
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread once it has committed what is queued, and wait for it."""
        self.batches.put(None)
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing and (operations := self.batches.get()) is not None:
            closing = self._fill_batch(operations)
            self._commit(operations)
            with suppress(RuntimeError):  # the event loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._deliver, operations)
        self._db.close()
        self._on_closed()

    def _fill_batch(self, operations: list[Operation]) -> bool:
        """Extend the batch with what is queued; return True if nothing follows it."""
        while len(operations) < _BATCH:
            try:
                queued = self.batches.get_nowait()
            except queue.Empty:
                break
            if queued is None:
                return True
            operations += queued
        return False

    def _commit(self, operations: list[Operation]) -> None:
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            for operation in operations:
                operation.run(db)
            db.execute("COMMIT")
        except Exception as error:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            for operation in operations:
                operation.outcome = StoreUnavailableError(f"journal: {error}")
