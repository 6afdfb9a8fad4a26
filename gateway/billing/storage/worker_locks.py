"""Which workers of a SQLite journal are alive: each holds a flock on a file of its own.

The kernel releases it however the worker ends, which tells the others that its payments are orphaned.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class WorkerLocks:
    """The locks in ``folder``, by the name of their worker; ``owner`` is this one. Every method may raise OSError."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._folder = folder
        self._path = folder / owner

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Serialize workers that open the journal, take this worker's lock, and give it up if opening fails.

        Of two that switch a new file to WAL at once, SQLite fails one without waiting; and a lock that one has created
        and not taken yet would be free to the other.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._remove_free()
            self._lock = self._path.open("xb")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
            except BaseException:
                self.release()
                raise
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Give up this worker's lock."""
        self._path.unlink(missing_ok=True)
        self._lock.close()

    def gone(self, owners: Iterable[str]) -> list[str]:
        """Those of the workers ``owners`` that have ended.

        Nobody passes for gone once somebody has removed this worker's lock, and possibly all others.
        """
        if not self._path.exists():
            return []
        return [owner for owner in owners if owner != self._path.name and not self._is_alive(owner)]

    def _remove_free(self) -> None:
        """Remove the files of workers that were killed: one that is killed again and again would leave ever more."""
        for path in self._folder.iterdir():
            self._is_alive(path.name)

    def _is_alive(self, owner: str) -> bool:
        path = self._folder / owner
        try:
            with path.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        path.unlink(missing_ok=True)
        return False
