"""The answer that arrives on a connection to an upstream or a facilitator, and what can become of it."""

import asyncio
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp.connector import Connection

if TYPE_CHECKING:
    from gateway.http_client.connection import Wire

_UNPACKED_AT_ONCE = 1024 * 1024
_ANY_PACKING = zlib.MAX_WBITS | 32
"""gzip or zlib, told apart by their first bytes."""

Take = Callable[[bytes], None]


class WireError(Exception):
    """An answer that does not come to its end."""


class UnreachableError(WireError):
    """No connection, or one that did not take the request."""


class BrokenOffError(WireError):
    """The connection ended before the answer did."""


class MalformedError(WireError):
    """What arrived is no HTTP/1.1 answer."""


class SilentError(WireError):
    """Nothing arrived for too long."""


class TooLargeError(WireError):
    """The body is larger than it may be."""


class ClosedError(WireError):
    """We closed the connection."""


class Response:
    """An answer under way. ``status`` and headers are known once ``begun`` has returned.

    ``patience`` is how many seconds may pass without a byte. The connection goes back to the pool by itself when the
    answer is complete, and is closed when it fails.
    """

    __slots__ = (
        "_complete",
        "_connection",
        "_error",
        "_held",
        "_limit",
        "_loop",
        "_patience",
        "_pieces",
        "_size",
        "_take",
        "_unpacker",
        "_waiter",
        "_wire",
        "fields",
        "heard",
        "status",
    )

    def __init__(self, wire: "Wire", connection: Connection, patience: float, limit: int) -> None:
        self._wire = wire
        self._connection = connection
        self._loop = wire.loop
        self._patience = patience
        self._limit = limit
        self.status = 0
        self.fields: dict[bytes, bytes] = {}
        """The headers by names in lower case; one of those that share a name, the last if they are spelt alike."""
        self._pieces: list[bytes] = []
        self._size = 0
        self._unpacker: Any = None
        self._take: Take | None = None
        self._held = False
        self._complete = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.heard = self._loop.time()
        wire.look_at(self.heard + patience)

    @property
    def headers(self) -> dict[str, str]:
        """The headers as text."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.fields.items()}

    def header(self, name: bytes) -> str:
        """One of them, by its name in lower case; empty when it is missing."""
        return self.fields.get(name, b"").decode("latin-1")

    async def begun(self) -> None:
        """Wait for the headers. Raises WireError when they do not come; what happens after them is the body's."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._change()

    async def read(self, limit: int) -> bytes:
        """Wait for the whole body. Raises WireError."""
        self._limit = limit
        if self._size > limit:
            self.close()
            raise TooLargeError
        while not self._complete and self._error is None:
            await self._change()
        if self._error is not None:
            raise self._error
        return b"".join(self._pieces)

    async def deliver(self, take: Take, patience: float) -> None:
        """Hand the body to ``take`` as it arrives, what one read brought at a time, and wait for its end.

        Raises WireError, and what ``take`` raised; the answer is to be closed then.
        """
        self._take = take
        self._patience = patience
        if not self._complete:
            self._wire.look_at(self.heard + patience)
        pieces, self._pieces = self._pieces, []
        if pieces:
            take(b"".join(pieces))
        while not self._complete and self._error is None:
            await self._change()
        self._take = None
        if self._error is not None:
            raise self._error

    @property
    def held(self) -> bool:
        """Nothing is read for now."""
        return self._held

    def hold(self) -> None:
        """Take nothing more from the upstream for now."""
        if not self._held and not self._complete and self._error is None:
            self._held = True
            self._wire.hold()

    def go_on(self) -> None:
        """Take what comes again."""
        if self._held:
            self._held = False
            self.heard = self._loop.time()
            self._wire.go_on()

    def close(self) -> None:
        """Stop now: the connection is closed, which is what makes vendors stop generating."""
        if self._error is None and not self._complete:
            self.fail(ClosedError())

    def _change(self) -> "asyncio.Future[None]":
        """Done when something has changed that somebody may be waiting for."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def look(self) -> None:
        """It may be time to give up."""
        now = self._loop.time()
        if self._held or now - self.heard < self._patience:
            self._wire.look_at(max((now if self._held else self.heard) + self._patience, now + 0.001))
        else:
            self.fail(SilentError())

    # What the connection says.

    def begin(self, status: int, fields: dict[bytes, bytes]) -> None:
        """The headers are complete."""
        self.status, self.fields = status, fields
        if fields.get(b"content-encoding", b"").lower() in (b"gzip", b"x-gzip", b"deflate"):
            self._unpacker = zlib.decompressobj(_ANY_PACKING)
        self._wake()

    def arrived(self, pieces: list[bytes], *, complete: bool) -> None:
        """What one read brought of the body, as it was sent, and whether that was the last of it."""
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self._unpacker is not None:
                data = self._unpacked(data)
            self._size += len(data)
            if self._size > self._limit:
                self.fail(TooLargeError())
            elif self._error is not None:
                return
            elif self._take is None:
                self._pieces.append(data)
            else:
                try:
                    self._take(data)
                except Exception as error:
                    self.fail(error)
                    self._error = error
        if complete:
            self._end()

    def _unpacked(self, data: bytes) -> bytes:
        """No more of it than shows that it is too large. Nothing may follow the end of what was packed."""
        unpacked = bytearray()
        try:
            while self._size + len(unpacked) <= self._limit:
                piece = self._unpacker.decompress(data, _UNPACKED_AT_ONCE)
                unpacked += piece
                data = self._unpacker.unconsumed_tail
                if not data and len(piece) < _UNPACKED_AT_ONCE:
                    break
        except zlib.error:
            self.fail(MalformedError())
        if self._unpacker.unused_data:
            self.fail(MalformedError())
        return bytes(unpacked)

    def _end(self) -> None:
        """The connection is as good for the next call as it was."""
        if self._unpacker is not None and not self._unpacker.eof:
            self.fail(BrokenOffError())
        if self._error is None and not self._complete:
            if self._held:
                self.go_on()
            self._complete = True
            self._wire.forget()
            self._connection.release()
            self._wake()

    def fail(self, error: Exception) -> None:
        """The answer will not be complete."""
        if self._error is None and not self._complete:
            self._error = error
            self._wire.forget()
            self._connection.close()
            self._wake()
