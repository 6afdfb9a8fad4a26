"""One HTTP/1.1 client connection: it writes requests, and feeds what it receives to the response under way.

aiohttp opens, secures and pools the connections. Requests are written and responses parsed here, because aiohttp's own
request and response objects cost as much as the whole translation, and because body bytes can be passed on as they
arrive, without waking a task for each read.
"""

import asyncio
from typing import Any

import httptools

from gateway.http_client.connector import AbortingHandler
from gateway.http_client.response import ReadError, RemoteProtocolError, Response

MAX_HEAD_BYTES = 64 * 1024
"""Limit on consecutive bytes that are not body: the head of a response, its trailers, chunk extensions."""
_WRITE_SIZE = 1024 * 1024
"""Larger requests are written in parts, so that other tasks run in between."""
_LARGE_READ = 128 * 1024
"""After a read of more bytes the next one waits for the next iteration of the event loop: libuv would go on for 32 full
buffers."""


class ClientConnection(AbortingHandler):
    """A pooled connection that carries one response at a time. Data that arrives while it is idle closes it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.loop = loop
        self._response: Response | None = None
        self._head_bytes = 0
        self._interim = False
        self._close_delimited = False
        self._message_complete = False
        self._send_task: asyncio.Task[None] | None = None
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._timeout_at = 0.0
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self.on_body = self._body.append
        self._response_parser: Any = httptools.HttpResponseParser(self)

    @property
    def should_close(self) -> bool:
        return self._response is not None or self._should_close

    def is_connected(self) -> bool:
        """Idle and reusable: no unsolicited data has arrived that the next request would take for its response."""
        transport = self.transport
        return (
            self._response is None and not self._should_close and transport is not None and not transport.is_closing()
        )

    def send(self, request: bytes, response: Response) -> None:
        """Write ``request`` and feed what is received from now on to ``response``.

        A large one is written while the response is awaited: vendors reject some requests before they have read them.
        Raises ConnectionResetError.
        """
        transport = self.transport
        if transport is None or not self.is_connected():
            raise ConnectionResetError("the connection is closed")
        self._response = response
        self._headers.clear()
        self._head_bytes = 0
        self._interim = self._close_delimited = self._message_complete = False
        if len(request) <= _WRITE_SIZE:
            transport.write(request)
        else:
            self._send_task = self.loop.create_task(self._send_in_parts(request, response))

    async def _send_in_parts(self, request: bytes, response: Response) -> None:
        try:
            for start in range(0, len(request), _WRITE_SIZE):
                if self.transport is None or self.transport.is_closing():
                    response.fail(ReadError())
                    return
                self.transport.write(request[start : start + _WRITE_SIZE])
                await self._drain_helper()
        except ConnectionError:
            response.fail(ReadError())

    def _cancel_send(self) -> None:
        """Drop the unsent rest of the request; the connection cannot be reused after that."""
        task, self._send_task = self._send_task, None
        if task is not None and not task.done():
            task.cancel()
            self.force_close()

    def detach(self) -> None:
        """Let go of the response, complete or failed; unless it is complete, the connection is closed."""
        if self._send_task is not None:
            self._cancel_send()
        if self._response is not None and not self._message_complete:
            self.force_close()
        self._response = None

    def pause(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _read_on(self) -> None:
        """Read on after a large read, unless the response has been paused since."""
        if self._response is None or not self._response.paused:
            self.resume()

    def schedule_timeout(self, when: float) -> None:
        """Call the response's ``check_timeout`` at loop time ``when`` or earlier.

        All responses of the connection share one timer. It keeps running when a response ends, and is rescheduled only
        for an earlier time.
        """
        if self._timeout_handle is not None:
            if self._timeout_at <= when:
                return
            self._timeout_handle.cancel()
        self._timeout_at = when
        self._timeout_handle = self.loop.call_at(when, self._on_timeout)

    def _on_timeout(self) -> None:
        self._timeout_handle = None
        if self._response is not None:
            self._response.check_timeout()

    # asyncio.Protocol callbacks.

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.close()
            return
        response.last_received = self.loop.time()
        body = self._body
        try:
            self._response_parser.feed_data(data)
        except httptools.HttpParserError:
            if not self._message_complete:
                if response.status:
                    response.body_received(body, complete=False)
                body.clear()
                response.fail(RemoteProtocolError())
                return
            self.force_close()
        if response.status:
            response.body_received(body, complete=self._message_complete)
            if len(data) > _LARGE_READ and self._response is not None and not response.paused:
                self.pause()
                self.loop.call_soon(self._read_on)
            if body:
                body.clear()
                self._head_bytes = 0
                return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            response.fail(RemoteProtocolError())

    def connection_lost(self, exc: BaseException | None) -> None:
        response, complete = self._response, self._close_delimited and exc is None
        super().connection_lost(exc)
        self._response_parser = None  # breaks the reference cycle
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        if response is not None and complete:
            response.body_received([], complete=True)
        elif response is not None:
            response.fail(ReadError())

    # httptools callbacks.

    def on_message_begin(self) -> None:
        if self._message_complete:
            raise RemoteProtocolError

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        headers, self._headers = self._headers, {}
        status = self._response_parser.get_status_code()
        if status < 200:
            if status == 101:
                raise RemoteProtocolError
            self._interim = True
            return
        if self._send_task is not None:
            self._cancel_send()
        self._close_delimited = b"content-length" not in headers and b"transfer-encoding" not in headers
        if self._response is not None:
            self._response.headers_received(status, headers)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._message_complete = True
            if not self._response_parser.should_keep_alive():  # trailers may say so too
                self.force_close()
