"""One HTTP/1.1 connection to an upstream or a facilitator, and the answer that arrives on it.

aiohttp opens, secures and pools the connections. What goes over them is written and read here, because aiohttp's own
request and response objects cost as much as all of the translation, and because an answer's bytes can then be handed
on in the moment they arrive, without waking a task for each.
"""

import asyncio
from typing import Any

import httptools
from aiohttp.client_proto import ResponseHandler

from gateway.http_client.response import BrokenOffError, MalformedError, Response

MAX_HEAD_BYTES = 64 * 1024
"""Also of what brings nothing of a body: trailers and the like."""


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
        self._reader: Any = httptools.HttpResponseParser(self)

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
            self.close()
            return
        response.heard = self.loop.time()
        body = self._body
        try:
            self._reader.feed_data(data)
        except httptools.HttpParserError:
            if not self._done:
                if response.status:
                    response.arrived(body, complete=False)
                body.clear()
                response.fail(MalformedError())
                return
            self.force_close()
        if response.status:
            response.arrived(body, complete=self._done)
            if body:
                body.clear()
                self._head_bytes = 0
                return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            response.fail(MalformedError())

    def connection_lost(self, exc: BaseException | None) -> None:
        response, complete = self._response, self._until_end and exc is None
        super().connection_lost(exc)
        self._reader = None  # which holds this wire in turn
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
        self._until_end = b"content-length" not in fields and b"transfer-encoding" not in fields
        if self._response is not None:
            self._response.begin(status, fields)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._done = True
            if not self._reader.should_keep_alive():  # which trailers may have decided
                self.force_close()
