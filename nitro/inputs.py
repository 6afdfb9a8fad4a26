"""The folder of fetched inputs, whether more may be fetched, and the folder of what is built."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"


@contextmanager
def exclusive_build() -> Iterator[None]:
    """Wait until no other process builds ramdisks: all write to the same files, and would measure each other's."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Inputs:
    """Fetched inputs: ``debs`` by file name, ``uv`` and ``go`` are the caches of these tools.

    An ``offline`` build needs nothing but the folder of an earlier online build.
    """

    folder: Path = BUILD / "inputs"
    offline: bool = False

    @property
    def debs(self) -> Path:
        return self.folder / "debs"

    @property
    def uv(self) -> Path:
        return self.folder / "uv"

    @property
    def go(self) -> Path:
        return self.folder / "go"
