"""Log lines on standard error, written without waiting for whoever reads them.

A full pipe would otherwise stop the process in the middle of its event loop: a reader that hangs would stop every
answer and settlement with it. Lines that cannot be written are kept, up to a limit, and written later.
"""

import asyncio
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from select import PIPE_BUF

MAX_KEPT_BYTES = 1024 * 1024
RETRY_SECONDS = 0.1
WAIT_SECONDS = 1.0
"""Longest wait of a process without an event loop."""
_STDERR = 2


class StandardError:
    """Writes lines to ``descriptor``. Any thread may.

    ``dropped_line`` makes the line that says how many were dropped.
    """

    def __init__(self, dropped_line: Callable[[int], bytes], descriptor: int = _STDERR) -> None:
        self._dropped_line = dropped_line
        self._descriptor = descriptor
        self._poll: select.poll | None = None
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._dropped = 0
        self._retrying: asyncio.AbstractEventLoop | None = None
        self._lock = threading.RLock()

    def open(self) -> None:
        """Write to the descriptor without blocking from now on."""
        os.register_at_fork(after_in_child=self._forget)
        if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            return
        if (own := _reopened(self._descriptor)) is not None:
            self._descriptor = own
        else:
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, lines: bytes) -> None:
        """Write whole lines, or keep them for later. What a closed pipe or a full disk does not take is dropped."""
        with self._lock:
            rest = lines if self._kept else self._write(lines)
            if not rest:
                return
            self._keep(rest)
        self._schedule_retry()

    def flush(self) -> None:
        """Write the lines kept so far, as far as possible."""
        with self._lock:
            while self._kept:
                lines = self._kept.popleft()
                rest = self._write(lines)
                self._kept_bytes -= len(lines) - len(rest)
                if rest:
                    self._kept.appendleft(rest)
                    return
            count, self._dropped = self._dropped, 0
        if count:
            self.write(self._dropped_line(count))

    def _write(self, lines: bytes) -> bytes:
        """The part of ``lines`` that could not be written now. A pipe takes ``PIPE_BUF`` bytes whole or not at all."""
        try:
            while lines and (self._poll is None or self._poll.poll(0)):
                whole_lines = lines.rfind(b"\n", 0, PIPE_BUF) + 1
                lines = lines[os.write(self._descriptor, lines[: whole_lines or PIPE_BUF]) :]
        except BlockingIOError:
            return lines
        except OSError:
            return b""
        return lines

    def _keep(self, lines: bytes) -> None:
        """Keep the lines that there is room for, and count the others."""
        room = MAX_KEPT_BYTES - self._kept_bytes
        if len(lines) > room:
            end = lines.rfind(b"\n", 0, room) + 1
            self._dropped += lines.count(b"\n", end)
            lines = lines[:end]
        if lines:
            self._kept.append(lines)
            self._kept_bytes += len(lines)

    def _schedule_retry(self) -> None:
        """Retry in the event loop; without one, wait a moment for a slow reader, and retry with the next line.

        Threads beside the event loop do not wait: they hold the lock of ``logging``'s handler.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            is_main = threading.current_thread() is threading.main_thread()
            self.wait_and_flush(WAIT_SECONDS if is_main and len(self._kept) == 1 else 0.0)
            return
        if self._retrying is not loop:
            self._retrying = loop
            loop.call_later(RETRY_SECONDS, self._retry)

    def wait_and_flush(self, seconds: float) -> None:
        """Write the lines kept so far, as far as the reader takes them within ``seconds``."""
        writable = select.poll()
        writable.register(self._descriptor, select.POLLOUT)
        deadline = time.monotonic() + seconds
        while self._kept and writable.poll(1000 * max(0.0, deadline - time.monotonic())):
            self.flush()

    def _retry(self) -> None:
        self._retrying = None
        self.flush()
        if self._kept:
            self._schedule_retry()

    def _forget(self) -> None:
        """In a forked child: the lines kept so far are the parent's to write."""
        self._kept.clear()
        self._kept_bytes = self._dropped = 0


def open_standard_streams() -> None:
    """Open ``/dev/null`` on the standard descriptors that the parent process has closed.

    Otherwise the next sockets would get their numbers, and libuv ends a process that closes one of those.
    """
    for descriptor in range(_STDERR + 1):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, this one
    sys.stderr = sys.stderr or open(_STDERR, "w", closefd=False)  # noqa: SIM115


def _reopened(descriptor: int) -> int | None:
    """A non-blocking descriptor of the same pipe or terminal; None if it cannot be opened, as for a socket.

    The flag of the inherited one is shared with all processes that have inherited it.
    """
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
