"""A response as it arrives on a client connection, and the errors that end it early."""

import asyncio
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp.connector import Connection

if TYPE_CHECKING:
    from gateway.http_client.connection import ClientConnection

_DECOMPRESS_STEP = 1024 * 1024
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
"""Detects the format by the first bytes."""

OnData = Callable[[bytes], None]


class TransportError(Exception):
    """The response did not arrive completely."""


class ConnectError(TransportError):
    """No connection could be opened, or it did not take the request."""


class ReadError(TransportError):
    """The connection was lost before the response was complete."""


class RemoteProtocolError(TransportError):
    """The server sent something that is not a valid HTTP/1.1 response."""


class ReadTimeoutError(TransportError):
    """No data arrived within the read timeout."""


class ResponseTooLargeError(TransportError):
    """The body exceeds its size limit."""


class ClosedError(TransportError):
    """The response was closed on this side."""


class Response:
    """A response being received. ``status`` and headers are set once ``wait_for_headers`` has returned.

    ``read_timeout`` is the longest time in seconds without data, ``max_bytes`` the limit of the decompressed body. The
    connection returns to the pool by itself when the response is complete, and is closed when it fails. ``paused``:
    nothing is read from it for now.
    """

    __slots__ = (
        "_chunks",
        "_complete",
        "_connection",
        "_decompressor",
        "_error",
        "_loop",
        "_max_bytes",
        "_on_data",
        "_pooled",
        "_read_timeout",
        "_size",
        "_waiter",
        "last_received",
        "paused",
        "raw_headers",
        "status",
    )

    def __init__(self, connection: "ClientConnection", pooled: Connection, read_timeout: float, max_bytes: int) -> None:
        self._connection = connection
        self._pooled = pooled
        self._loop = connection.loop
        self._read_timeout = read_timeout
        self._max_bytes = max_bytes
        self.status = 0
        self.raw_headers: dict[bytes, bytes] = {}
        """By lower-case name; of repeated headers only the last is kept."""
        self._chunks: list[bytes] = []
        self._size = 0
        self._decompressor: Any = None
        self._on_data: OnData | None = None
        self.paused = False
        self._complete = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.last_received = self._loop.time()
        connection.schedule_timeout(self.last_received + read_timeout)

    @property
    def headers(self) -> dict[str, str]:
        """The headers as text, by lower-case name."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.raw_headers.items()}

    def header(self, name: bytes) -> str:
        """One header by its lower-case name; empty when it is missing."""
        return self.raw_headers.get(name, b"").decode("latin-1")

    async def wait_for_headers(self) -> None:
        """Wait for status and headers. Raises TransportError; an error after the headers is raised by the body."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._state_change()

    async def read(self, max_bytes: int) -> bytes:
        """Wait for the whole body. Raises TransportError."""
        self._max_bytes = max_bytes
        if self._size > max_bytes:
            self.close()
            raise ResponseTooLargeError
        while not self._complete and self._error is None:
            await self._state_change()
        if self._error is not None:
            raise self._error
        return b"".join(self._chunks)

    async def stream(self, on_data: OnData, read_timeout: float) -> None:
        """Pass the body to ``on_data`` as it arrives, one call per network read, and wait for its end.

        Raises TransportError, and what ``on_data`` raised; the response is to be closed then.
        """
        self._on_data = on_data
        self._read_timeout = read_timeout
        if not self._complete:
            self._connection.schedule_timeout(self.last_received + read_timeout)
        chunks, self._chunks = self._chunks, []
        if chunks:
            on_data(b"".join(chunks))
        while not self._complete and self._error is None:
            await self._state_change()
        self._on_data = None
        if self._error is not None:
            raise self._error

    def pause_reading(self) -> None:
        """Apply backpressure: stop reading from the connection."""
        if not self.paused and not self._complete and self._error is None:
            self.paused = True
            self._connection.pause()

    def resume_reading(self) -> None:
        """Read again, if reading was paused."""
        if self.paused:
            self.paused = False
            self.last_received = self._loop.time()
            self._connection.resume()

    def close(self) -> None:
        """Close the connection unless the response is complete: this is what makes vendors stop generating."""
        if self._error is None and not self._complete:
            self.fail(ClosedError())

    def _state_change(self) -> "asyncio.Future[None]":
        """A future that is done at the next ``_notify``."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def check_timeout(self) -> None:
        """Fail if the read timeout has passed, else schedule the next check. Paused time does not count."""
        now = self._loop.time()
        if self.paused or now - self.last_received < self._read_timeout:
            since = now if self.paused else self.last_received
            self._connection.schedule_timeout(max(since + self._read_timeout, now + 0.001))
        else:
            self.fail(ReadTimeoutError())

    # Called by the connection.

    def headers_received(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status, self.raw_headers = status, headers
        if headers.get(b"content-encoding", b"").lower() in (b"gzip", b"x-gzip", b"deflate"):
            self._decompressor = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._notify()

    def body_received(self, chunks: list[bytes], *, complete: bool) -> None:
        """Take the body bytes of one network read, still encoded; ``complete`` after the last of them."""
        if chunks:
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if self._decompressor is not None:
                data = self._decompress(data)
            self._size += len(data)
            if self._size > self._max_bytes:
                self.fail(ResponseTooLargeError())
            elif self._error is not None:
                return
            elif self._on_data is None:
                self._chunks.append(data)
            else:
                try:
                    self._on_data(data)
                except Exception as error:
                    self.fail(error)
                    self._error = error  # also if ``on_data`` has closed the response
        if complete:
            self._finish()

    def _decompress(self, data: bytes) -> bytes:
        """``data`` decompressed, at most as far as needed to exceed the limit; data after the end is an error."""
        output = bytearray()
        try:
            while self._size + len(output) <= self._max_bytes:
                step = self._decompressor.decompress(data, _DECOMPRESS_STEP)
                output += step
                data = self._decompressor.unconsumed_tail
                if not data and len(step) < _DECOMPRESS_STEP:
                    break
        except zlib.error:
            self.fail(RemoteProtocolError())
        if self._decompressor.unused_data:
            self.fail(RemoteProtocolError())
        return bytes(output)

    def _finish(self) -> None:
        """Return the connection to the pool, still open where the protocol allows it."""
        if self._decompressor is not None and not self._decompressor.eof:
            self.fail(ReadError())
        if self._error is None and not self._complete:
            if self.paused:
                self.resume_reading()
            self._complete = True
            self._connection.detach()
            self._pooled.release()
            self._notify()

    def fail(self, error: Exception) -> None:
        """End the response with ``error`` and close the connection, unless it has ended before."""
        if self._error is None and not self._complete:
            self._error = error
            self._connection.detach()
            self._pooled.close()
            self._notify()
