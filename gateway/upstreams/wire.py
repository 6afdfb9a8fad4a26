"""One HTTP/1.1 connection to an upstream, and the answer that arrives on it.

aiohttp opens, secures and pools the connections. What goes over them is written and read here, because aiohttp's own
request and response objects cost as much as all of the translation, and because an answer's bytes can then be handed
on in the moment they arrive, without waking a task for each.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterator
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
        "_heard",
        "_held",
        "_limit",
        "_loop",
        "_patience",
        "_pieces",
        "_size",
        "_take",
        "_unpacker",
        "_waiter",
        "_watch",
        "_wire",
        "fields",
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
        self._heard = self._loop.time()
        self._watch = self._loop.call_later(patience, self._look)

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
            await self._wait()

    async def read(self, limit: int) -> bytes:
        """Wait for the whole body. Raises WireError."""
        self._limit = limit
        if self._size > limit:
            self.close()
            raise TooLargeError
        while not self._complete and self._error is None:
            await self._wait()
        if self._error is not None:
            raise self._error
        return b"".join(self._pieces)

    async def deliver(self, take: Take, patience: float) -> None:
        """Hand the body to ``take`` as it arrives, what one read brought at a time, and wait for its end.

        Raises WireError, and what ``take`` raised, which ends the answer.
        """
        self._take = take
        self._patience = patience
        self._watch.cancel()
        if not self._complete:
            self._watch = self._loop.call_later(patience, self._look)
        self.hand_on()
        while not self._complete and self._error is None:
            await self._wait()
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
            self._heard = self._loop.time()
            self._wire.go_on()

    def close(self) -> None:
        """Stop now: the connection is closed, which is what makes vendors stop generating."""
        self.fail(ClosedError())

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look(self) -> None:
        """One timer for the whole answer: it looks how long nothing has come and sleeps on."""
        silent = self._loop.time() - self._heard
        if silent < self._patience or self._held:
            wait = self._patience if self._held else self._patience - silent
            self._watch = self._loop.call_later(max(wait, 0.001), self._look)
        else:
            self.fail(SilentError())

    # What the connection says.

    def hear(self) -> None:
        """Something has arrived."""
        self._heard = self._loop.time()

    def begin(self, status: int) -> None:
        """The headers are complete."""
        self.status = status
        if self.fields.get(b"content-encoding", b"").lower() in (b"gzip", b"x-gzip", b"deflate"):
            self._unpacker = zlib.decompressobj(_ANY_PACKING)
        self._wake()

    def add(self, data: bytes) -> None:
        """A piece of the body as it was sent. Raises TooLargeError, and zlib.error."""
        for piece in (data,) if self._unpacker is None else self._unpacked(data):
            self._size += len(piece)
            if self._size > self._limit:
                raise TooLargeError
            self._pieces.append(piece)

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        while True:
            piece = self._unpacker.decompress(data, _UNPACKED_AT_ONCE)
            yield piece
            data = self._unpacker.unconsumed_tail
            if not data and len(piece) < _UNPACKED_AT_ONCE:
                return

    def hand_on(self) -> None:
        """Give what has arrived to whoever takes it."""
        if self._take is None or not self._pieces:
            return
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        try:
            self._take(data)
        except Exception as error:
            self.fail(error)
            self._error = error

    def end(self) -> None:
        """The answer is complete, and the connection as good for the next call as it was."""
        if self._error is None and not self._complete:
            self.go_on()
            self._complete = True
            self._watch.cancel()
            self._wire.forget()
            self._connection.release()
            self._wake()

    def fail(self, error: Exception) -> None:
        """The answer will not be complete."""
        if self._error is None and not self._complete:
            self._error = error
            self._watch.cancel()
            self._wire.forget()
            self._connection.close()
            self._wake()


class Wire(ResponseHandler):
    """A connection of aiohttp's pool. Without an answer under way nothing may arrive on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.loop = loop
        self._response: Response | None = None
        self._parser_of_response: Any = None
        self._head_bytes = 0
        self._interim = False
        self._until_end = False
        self._done = False
        self._sender: asyncio.Task[None] | None = None

    @property
    def should_close(self) -> bool:
        return self._response is not None or super().should_close

    def send(self, request: bytes, response: Response, piece: int) -> None:
        """Write ``request``, and from now on tell ``response`` what arrives. Raises ConnectionResetError.

        A larger one than ``piece`` bytes goes out in such pieces while the answer is waited for: vendors refuse some
        before they have read them.
        """
        self._response = response
        self._parser_of_response = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._interim = self._until_end = self._done = False
        if len(request) <= piece:
            self._write(request)
        else:
            self._sender = self.loop.create_task(self._send_in_pieces(request, response, piece))

    async def _send_in_pieces(self, request: bytes, response: Response, piece: int) -> None:
        try:
            for start in range(0, len(request), piece):
                self._write(request[start : start + piece])
                await self._drain_helper()
        except ConnectionError:
            response.fail(BrokenOffError())

    def _stop_sending(self) -> None:
        """Whatever of the request has not been written is not wanted; nothing else can follow it on this connection."""
        if self._sender is not None:
            if not self._sender.done():
                self._sender.cancel()
                self.force_close()
            self._sender = None

    def _write(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self.transport.write(data)

    def forget(self) -> None:
        """The answer is over, one way or another."""
        self._stop_sending()
        if self._response is not None and not self._done:
            self.force_close()
        self._response = None
        self._parser_of_response = None

    def hold(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()

    def go_on(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # What asyncio says.

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.force_close()
            return
        response.hear()
        try:
            self._parser_of_response.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._done:
                response.fail(error.__context__ if isinstance(error.__context__, TooLargeError) else MalformedError())
                return
            self.force_close()
        if not response.status:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                response.fail(MalformedError())
            return
        response.hand_on()
        if self._done:
            response.end()

    def connection_lost(self, exc: BaseException | None) -> None:
        response, complete = self._response, self._until_end and exc is None
        super().connection_lost(exc)
        if response is not None and complete:
            self._done = True
            response.end()
        elif response is not None:
            response.fail(BrokenOffError())

    # What the parser says.

    def on_message_begin(self) -> None:
        if self._done:
            self.force_close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._response is not None and not self._done:
            self._response.fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._response is None or self._done:
            return
        status = self._parser_of_response.get_status_code()
        if status < 200:
            if status == 101:
                raise MalformedError
            self._interim = True
            self._response.fields.clear()
            return
        self._stop_sending()
        if not self._parser_of_response.should_keep_alive():
            self.force_close()
        fields = self._response.fields
        self._until_end = b"content-length" not in fields and b"transfer-encoding" not in fields
        self._response.begin(status)

    def on_body(self, body: bytes) -> None:
        if self._response is not None and not self._done:
            self._response.add(body)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._done = True
