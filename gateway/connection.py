"""The HTTP server's connections: aiohttp's, with OpenAI-shaped protocol errors and a word when the client leaves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from heapq import nsmallest
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.openai_api.errors import Fault, GatewayError

MAX_HEADER_BYTES = 32 * 1024
KEEP_ALIVE_SECONDS = 75.0
STUCK_SECONDS = 60.0
STUCK_BYTES = 16 * 1024
MALFORMED = "The request is not valid HTTP, or its headers are too large"
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
    it in ``STUCK_SECONDS``, be it a stream or a complete answer.
    """

    __slots__ = ("_note", "_stuck", "on_drained", "on_full", "on_lost")

    def __init__(self, manager: Any, note: Note, **options: Any) -> None:
        super().__init__(manager, **options)
        self._note = note
        self.on_lost: Callable[[], None] | None = None
        self.on_full: Callable[[], None] | None = None
        self.on_drained: Callable[[], None] | None = None
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._loop = _OneTask(self._loop)  # type: ignore[assignment] # all of a loop that a connection uses from now on

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
            MALFORMED if status == HTTPStatus.BAD_REQUEST else HTTPStatus(status).phrase,
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
