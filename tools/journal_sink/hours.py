"""Sealed records on disk, a file for each hour, and none that is older than anybody can still need."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from gateway.billing.storage.records import RecordFile, encode_frame

_HOUR = 3600
_CHUNK = 1 << 20
_SUFFIX = ".records"


class Hours:
    """The records of the last ``kept`` hours in a folder that nobody else writes to. ``clock`` is Unix time."""

    def __init__(self, folder: Path, kept: int, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._kept = kept
        self._clock = clock
        self._hour = -1
        self._file = RecordFile(folder)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        folder.mkdir(mode=0o700, exist_ok=True)
        self._turn(int(clock()) // _HOUR)

    async def append(self, record: bytes) -> None:
        """Returns once the record is on disk; those that wait at the same time share one flush. Raises OSError."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((encode_frame(record), done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await done

    def snapshot(self) -> tuple[int, AsyncIterator[bytes]]:
        """How many bytes all records have that are there now, each behind its length, and these bytes."""
        sizes = [(file, RecordFile(file).complete_length()) for file in self._files()]
        return sum(size for _, size in sizes), _pieces(sizes)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._append, b"".join(frame for frame, _ in batch))
            except OSError as error:
                outcome: OSError | None = error
            else:
                outcome = None
            for _, done in batch:
                if not done.cancelled():
                    done.set_result(None) if outcome is None else done.set_exception(outcome)
        self._writing = None

    def _append(self, frames: bytes) -> None:
        hour = int(self._clock()) // _HOUR
        if hour != self._hour:
            self._turn(hour)
        self._file.append(frames)

    def _turn(self, hour: int) -> None:
        """Begin a file, and let go of those whose time is over."""
        self._hour = hour
        self._file = RecordFile(self._folder / f"{hour}{_SUFFIX}")
        for file in self._files():
            if int(file.stem) <= hour - self._kept:
                file.unlink()

    def _files(self) -> list[Path]:
        files = [file for file in self._folder.glob(f"*{_SUFFIX}") if file.stem.isdigit()]
        return sorted(files, key=lambda file: int(file.stem))


async def _pieces(sizes: list[tuple[Path, int]]) -> AsyncIterator[bytes]:
    for path, size in sizes:
        with path.open("rb") as file:
            while size and (piece := await asyncio.to_thread(file.read, min(size, _CHUNK))):
                size -= len(piece)
                yield piece
