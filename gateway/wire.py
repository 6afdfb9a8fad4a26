"""One HTTP/1.1 connection to an upstream or a facilitator, and the answer that arrives on it.

aiohttp opens, secures and pools the connections. What goes over them is written and read here, because aiohttp's own
request and response objects cost as much as all of the translation, and because an answer's bytes can then be handed
on in the moment they arrive, without waking a task for each.
"""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import httptools
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

MAX_HEAD_BYTES = 64 * 1024
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
        """The headers by names in lower case; the last one of those that share a name."""
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
        """No more of it than shows that it is too large."""
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
        return bytes(unpacked)

    def _end(self) -> None:
        """The connection is as good for the next call as it was."""
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


class Wire(ResponseHandler):
    """A connection of aiohttp's pool. Without an answer under way nothing may arrive on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.loop = loop
        self._response: Response | None = None
        self._head_bytes = 0
        self._interim = False
        self._until_end = False
        self._done = False
        self._sender: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._fields: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self.on_header = self._fields.__setitem__
        self.on_body = self._body.append
        self._reader = httptools.HttpResponseParser(self)

    @property
    def should_close(self) -> bool:
        return self._response is not None or self._should_close

    def is_connected(self) -> bool:
        """Good for another call: nothing arrived on it unasked, which would pass for that call's answer."""
        transport = self.transport
        return (
            self._response is None and not self._should_close and transport is not None and not transport.is_closing()
        )

    def send(self, request: bytes, response: Response, piece: int) -> None:
        """Write ``request``, and from now on tell ``response`` what arrives. Raises ConnectionResetError.

        A larger one than ``piece`` bytes goes out in such pieces while the answer is waited for: vendors refuse some
        before they have read them.
        """
        transport = self.transport
        if transport is None or not self.is_connected():
            raise ConnectionResetError("the connection is closed")
        self._response = response
        self._fields.clear()
        self._head_bytes = 0
        self._interim = self._until_end = self._done = False
        if len(request) <= piece:
            transport.write(request)
        else:
            self._sender = self.loop.create_task(self._send_in_pieces(request, response, piece))

    async def _send_in_pieces(self, request: bytes, response: Response, piece: int) -> None:
        try:
            for start in range(0, len(request), piece):
                if self.transport is None or self.transport.is_closing():
                    response.fail(BrokenOffError())
                    return
                self.transport.write(request[start : start + piece])
                await self._drain_helper()
        except ConnectionError:
            response.fail(BrokenOffError())

    def _stop_sending(self) -> None:
        """Whatever of the request has not been written is not wanted; nothing else can follow it on this connection."""
        sender, self._sender = self._sender, None
        if sender is not None and not sender.done():
            sender.cancel()
            self.force_close()

    def forget(self) -> None:
        """The answer is over, one way or another."""
        if self._sender is not None:
            self._stop_sending()
        if self._response is not None and not self._done:
            self.force_close()
        self._response = None

    def hold(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()

    def go_on(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def look_at(self, moment: float) -> None:
        """Have the answer look after itself at this loop time. One timer serves all answers on this connection: it is
        left to run when they end, and set again only by one that needs an earlier look."""
        if self._alarm is not None:
            if self._due <= moment:
                return
            self._alarm.cancel()
        self._due = moment
        self._alarm = self.loop.call_at(moment, self._look)

    def _look(self) -> None:
        self._alarm = None
        if self._response is not None:
            self._response.look()

    # What asyncio says.

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.force_close()
            return
        response.heard = self.loop.time()
        body = self._body
        try:
            self._reader.feed_data(data)
        except httptools.HttpParserError:
            if not self._done:
                body.clear()
                response.fail(MalformedError())
                return
            self.force_close()
        if response.status:
            response.arrived(body, complete=self._done)
            body.clear()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            response.fail(MalformedError())

    def connection_lost(self, exc: BaseException | None) -> None:
        response, complete = self._response, self._until_end and exc is None
        super().connection_lost(exc)
        if self._alarm is not None:
            self._alarm.cancel()
        if response is not None and complete:
            response.arrived([], complete=True)
        elif response is not None:
            response.fail(BrokenOffError())

    # What the parser says.

    def on_message_begin(self) -> None:
        if self._done:
            raise MalformedError

    def on_headers_complete(self) -> None:
        fields = {name.lower(): value for name, value in self._fields.items()}
        self._fields.clear()
        status = self._reader.get_status_code()
        if status < 200:
            if status == 101:
                raise MalformedError
            self._interim = True
            return
        if self._sender is not None:
            self._stop_sending()
        if not self._reader.should_keep_alive():
            self.force_close()
        self._until_end = b"content-length" not in fields and b"transfer-encoding" not in fields
        if self._response is not None:
            self._response.begin(status, fields)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._done = True
