"""A log of sealed records on disk, in one file per hour, with a retention period."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from gateway.billing.storage.records import RecordFile, encode_frame

_HOUR = 3600
_CHUNK = 1 << 20
_SUFFIX = ".records"


class HourlyLog:
    """The records of the last ``kept`` hours in ``folder``, whose only writer this is. ``clock`` is Unix time."""

    def __init__(self, folder: Path, kept: int, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._kept = kept
        self._clock = clock
        self._hour = -1
        self._file = RecordFile(folder)
        self._queue: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        folder.mkdir(mode=0o700, exist_ok=True)
        self._rotate(int(clock()) // _HOUR)

    async def append(self, record: bytes) -> None:
        """Append a record; return once it is on disk. Concurrent calls share one fsync. Raises OSError."""
        done = asyncio.get_running_loop().create_future()
        self._queue.append((encode_frame(record), done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await done

    def snapshot(self) -> tuple[int, AsyncIterator[bytes]]:
        """The current size of all frames in bytes, and an iterator over these bytes."""
        sizes = [(file, RecordFile(file).complete_length()) for file in self._files()]
        return sum(size for _, size in sizes), _read_chunks(sizes)

    async def _write(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            failure: OSError | None = None
            try:
                await asyncio.to_thread(self._append, b"".join(frame for frame, _ in batch))
            except OSError as error:
                failure = error
            for _, done in batch:
                if not done.cancelled():
                    done.set_result(None) if failure is None else done.set_exception(failure)
        self._writer = None

    def _append(self, frames: bytes) -> None:
        hour = int(self._clock()) // _HOUR
        if hour != self._hour:
            self._rotate(hour)
        self._file.append(frames)

    def _rotate(self, hour: int) -> None:
        """Start a new file, and delete those whose last record is past its retention."""
        self._hour = hour
        self._file = RecordFile(self._folder / f"{hour}{_SUFFIX}")
        for file in self._files():
            if int(file.stem) < hour - self._kept:
                file.unlink()

    def _files(self) -> list[Path]:
        files = [file for file in self._folder.glob(f"*{_SUFFIX}") if file.stem.isdigit()]
        return sorted(files, key=lambda file: int(file.stem))


async def _read_chunks(sizes: list[tuple[Path, int]]) -> AsyncIterator[bytes]:
    for path, size in sizes:
        with path.open("rb") as file:
            while size and (chunk := await asyncio.to_thread(file.read, min(size, _CHUNK))):
                size -= len(chunk)
                yield chunk
