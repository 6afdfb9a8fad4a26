"""The HTTP server's connections: aiohttp's, with OpenAI-shaped protocol errors and a word when the client leaves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from heapq import nsmallest
from http import HTTPStatus
from typing import Any

from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from gateway.openai_api.errors import Fault, GatewayError

MAX_HEADER_BYTES = 32 * 1024
MAX_HEAD_BYTES = 64 * 1024
"""Names and values of all headers of a request and its target together."""
MAX_READ_BYTES = 256 * 1024
"""What an event loop reads from a socket at once."""
KEEP_ALIVE_SECONDS = 75.0
STUCK_SECONDS = 60.0
STUCK_BYTES = 16 * 1024
_MESSAGES = {
    HTTPStatus.BAD_REQUEST: "The request is not valid HTTP, or its headers are too large",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"The request's headers are more than {MAX_HEAD_BYTES} bytes together",
}
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Note = Callable[[GatewayError], str]
"""Counts and logs a request that no handler saw; the id that it is given."""
log = logging.getLogger(__name__)


class _OneTask:
    """An event loop on which a connection's requests run in the connection's own task.

    aiohttp gives each a new one, for context variables that nobody here sets, and waits for it: two more turns of the
    loop for every request. (From Python 3.12 on it starts them eagerly, and does not ask the loop.)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time, self.create_future = loop.time, loop.create_future
        self.call_at, self.call_later = loop.call_at, loop.call_later

    @staticmethod
    def create_task(request: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        return request


class Connection(RequestHandler):
    """One client connection. ``on_lost`` is called once when it goes while a request is being served, ``on_full`` when
    its client takes less than it is sent, ``on_drained`` when that has caught up.

    A client that leaves more than the transport's limit unread is cut off when it takes less than ``STUCK_BYTES`` of
    it in ``STUCK_SECONDS``, be it a stream or a complete answer. A request's head of more than ``MAX_HEAD_BYTES`` is
    the last that is read of a connection.
    """

    __slots__ = ("_head_bytes", "_last_body", "_note", "_refused", "_stuck", "on_drained", "on_full", "on_lost")

    def __init__(self, manager: Any, note: Note, **options: Any) -> None:
        super().__init__(manager, **options)
        self._note = note
        self.on_lost: Callable[[], None] | None = None
        self.on_full: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._last_body: Any = EMPTY_PAYLOAD
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._loop = _OneTask(self._loop)  # type: ignore[assignment] # all of a loop that a connection uses from now on

    def data_received(self, data: bytes) -> None:
        """In place of aiohttp's, which leaves the size of a head unbounded; it does the same otherwise.

        ``_head_bytes`` is the most that can have come of a head that is not complete: all since the last read that
        completed one, which may have brought the beginning of the next.
        """
        if self._force_close or self._close or self._refused or self._parser is None:
            return
        if self._upgraded:
            super().data_received(data)
            return
        try:
            requests, self._upgraded, self._message_tail = self._parser.feed_data(data)
        except HttpProcessingError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, error)
            return
        if requests:
            if self._head_bytes + len(data) > MAX_HEAD_BYTES:
                requests = self._of_bounded_heads(requests)
            self._head_bytes = len(data) or self._head_bytes
            self._last_body = requests[-1][1]
            self._request_count += len(requests)
            self._messages.extend(requests)
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
            if len(self._messages) >= self._max_msg_queue_size and not self._buffer_paused:
                self._pause_reading_for_buffer()
        elif self._last_body is EMPTY_PAYLOAD or self._last_body._eof:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES + MAX_READ_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _refuse(self, status: HTTPStatus, error: HttpProcessingError | None = None) -> None:
        self._refused = True
        self._request_count += 1
        self._messages.append(_refusal(status, error))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _of_bounded_heads(self, requests: Sequence[tuple[RawRequestMessage, Any]]) -> list[tuple[Any, Any]]:
        """``requests`` up to the first whose head is too large, and its refusal in its place."""
        for position, (head, _) in enumerate(requests):
            size = len(head.path) + sum(len(name) + len(value) for name, value in head.raw_headers)
            if size > MAX_HEAD_BYTES:
                self._refused = True
                return [*requests[:position], _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)]
        return list(requests)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.transport is not None:
            self._watch(self.transport)
        if self.on_full is not None:
            self.on_full()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        if self.on_drained is not None:
            self.on_drained()

    def _watch(self, transport: asyncio.Transport) -> None:
        left = transport.get_write_buffer_size() - STUCK_BYTES

        def look() -> None:
            if transport.get_write_buffer_size() > left:
                transport.abort()
            else:
                self._watch(transport)

        self._stuck = self._loop.call_later(STUCK_SECONDS, look)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        super().connection_lost(exc)
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is wrong before a request can be routed: bad HTTP, oversized headers. Anything else is our own fault,
        but for the end of a request whose client has left, which is accounted for and has nobody to tell."""
        if isinstance(exc, ConnectionError):
            return _unsent()
        bad = status < HTTPStatus.INTERNAL_SERVER_ERROR
        if not bad:
            log.error("a request was given up", exc_info=exc)
        error = GatewayError(
            _MESSAGES.get(HTTPStatus(status)) or HTTPStatus(status).phrase,
            status=status,
            type="invalid_request_error" if bad else "server_error",
            code="bad_framing" if bad else "internal_error",
            fault=Fault.CALLER if bad else Fault.GATEWAY,
        )
        response = web.Response(
            status=status,
            body=error.body(),
            headers={"x-request-id": self._note(error), "Server": "tee-gateway"},
            content_type="application/json",
        )
        response.force_close()
        return response


def _refusal(status: HTTPStatus, error: HttpProcessingError | None = None) -> tuple[Any, Any]:
    """What aiohttp's queue of requests holds for one that cannot be read."""
    error = error or BadHttpMessage(status.phrase)
    return _ErrInfo(status=status, exc=error, message=error.message), EMPTY_PAYLOAD


def _unsent() -> web.Response:
    response = web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
    response.force_close()
    return response


class HttpServer(web.Server):
    """A low-level aiohttp server whose connections are ``Connection``s, ``most`` of them at once.

    For one more those make room that have waited longest for a request, a few at once, since finding them takes a look
    at all; while none waits, it is closed itself.
    """

    def __init__(self, handler: Handler, note: Note, most: int) -> None:
        super().__init__(handler)
        self._note = note
        self._most = most
        self._options: dict[str, Any] = {
            "keepalive_timeout": KEEP_ALIVE_SECONDS,
            "max_line_size": MAX_HEADER_BYTES,
            "max_field_size": MAX_HEADER_BYTES,
            "max_headers": 128,
            "lingering_time": 5.0,
            "auto_decompress": False,
            "access_log": None,
            "logger": log,
        }

    def __call__(self) -> Connection:
        return Connection(self, self._note, loop=asyncio.get_running_loop(), **self._options)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._connections) > self._most:
            idle = [each for each in self._connections if each._waiter is not None and not each._waiter.done()]
            longest = nsmallest(1 + self._most // 64, idle, key=lambda each: each._next_keepalive_close_time)
            for each in longest:
                each.force_close()
            if not longest:
                asyncio.get_running_loop().call_soon(handler.force_close)  # its task has not begun yet
