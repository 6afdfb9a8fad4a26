"""Server connections: aiohttp's, with bounded heads, OpenAI-shaped protocol errors and callbacks for flow control."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from gateway.openai_api.errors import Fault, GatewayError

MAX_HEAD_BYTES = 64 * 1024
"""Limit on a request's target and the names and values of its headers, together."""
MAX_READ_BYTES = 256 * 1024
"""The most that an event loop reads from a socket at once."""
STALL_SECONDS = 60.0
STALL_BYTES = 16 * 1024
_MESSAGES = {
    HTTPStatus.BAD_REQUEST: "The request is not valid HTTP, or its headers are too large",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"The request headers exceed the limit of {MAX_HEAD_BYTES} bytes",
}
OnProtocolError = Callable[[GatewayError], str]
"""Counts and logs a request that reaches no handler; returns the id it is given."""
log = logging.getLogger(__name__)


class _InlineTaskLoop:
    """An event loop whose ``create_task`` returns the coroutine, so that requests run in their connection's task.

    aiohttp creates a task per request, for context variables that nobody here sets, and awaits it: two more iterations
    of the loop for every request. (From Python 3.12 on it starts them eagerly, without ``create_task``.)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time, self.create_future = loop.time, loop.create_future
        self.call_at, self.call_later = loop.call_at, loop.call_later

    @staticmethod
    def create_task(request: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        return request


class ServerConnection(RequestHandler):
    """One client connection.

    ``on_disconnect`` is called once if the connection is lost while a request is served, ``on_pause_writing`` when the
    write buffer exceeds its high-water mark, ``on_resume_writing`` when it has drained. While it is full, the
    connection is aborted unless the client reads at least ``STALL_BYTES`` in ``STALL_SECONDS``, in streams and complete
    responses alike. After a request head of more than ``MAX_HEAD_BYTES``, and after invalid HTTP, nothing more is read.
    """

    __slots__ = (
        "_body_bytes",
        "_head_bytes",
        "_last_body",
        "_on_protocol_error",
        "_rejected",
        "_stall_timer",
        "on_disconnect",
        "on_pause_writing",
        "on_resume_writing",
    )

    def __init__(self, manager: Any, on_protocol_error: OnProtocolError, **options: Any) -> None:
        super().__init__(manager, **options)
        self._on_protocol_error = on_protocol_error
        self.on_disconnect: Callable[[], None] | None = None
        self.on_pause_writing: Callable[[], None] | None = None
        self.on_resume_writing: Callable[[], None] | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._head_bytes = self._body_bytes = 0
        self._last_body: Any = EMPTY_PAYLOAD
        self._rejected = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._loop = _InlineTaskLoop(self._loop)  # type: ignore[assignment] # all of a loop that a connection uses from now on

    def data_received(self, data: bytes) -> None:
        """Replaces aiohttp's method, which does not bound the size of a head or of trailers.

        A request to upgrade to WebSocket is served like any other, and what follows it is read as HTTP at once; after
        other upgrades and CONNECT the connection is closed.
        ``_head_bytes`` is an upper bound for the incomplete head, or trailers: all bytes since the last read that
        completed a head or held some of a body, including that read, which may have held the beginning of the next.
        """
        if self._force_close or self._close or self._rejected or self._parser is None:
            return
        try:
            requests, upgraded, tail = self._parser.feed_data(data)
        except HttpProcessingError as error:
            self._reject(HTTPStatus.BAD_REQUEST, error)
            return
        if requests:
            if requests[-1][0].upgrade:
                requests = _close_if_unreadable(requests)
            if self._head_bytes + len(data) > MAX_HEAD_BYTES:
                requests = self._reject_large_heads(requests)
            self._head_bytes = len(data) or self._head_bytes
            self._last_body, self._body_bytes = requests[-1][1], 0
            self._request_count += len(requests)
            self._messages.extend(requests)
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
            if len(self._messages) >= self._max_msg_queue_size and not self._buffer_paused:
                self._pause_reading_for_buffer()
        elif self._last_body.total_bytes != self._body_bytes:
            self._head_bytes, self._body_bytes = len(data), self._last_body.total_bytes
        else:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES + MAX_READ_BYTES:
                self._reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if upgraded:
            self._parser.set_upgraded(False)
            if tail:
                self.data_received(tail)

    def _reject(self, status: HTTPStatus, error: HttpProcessingError | None = None) -> None:
        self._rejected = True
        if not self._last_body.is_eof():
            self._reject_body()
            return
        self._request_count += 1
        self._messages.append(_error_item(status, error))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _reject_body(self) -> None:
        """Fail the incomplete body of the last request; the connection is closed after the response to it."""
        if self._messages or self._current_request is not None:
            self._lingering_time = 0.0
            self._last_body.set_exception(web.RequestPayloadError("the body is not valid HTTP"))
        else:  # answered already: aiohttp is discarding the body
            self._last_body.feed_eof()
            self.close()

    def _reject_large_heads(self, requests: Sequence[tuple[RawRequestMessage, Any]]) -> list[tuple[Any, Any]]:
        """``requests`` up to the first with too large a head, which an error item replaces."""
        for position, (head, _) in enumerate(requests):
            size = len(head.path) + sum(len(name) + len(value) for name, value in head.raw_headers)
            if size > MAX_HEAD_BYTES:
                self._rejected = True
                return [*requests[:position], _error_item(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)]
        return list(requests)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.transport is not None:
            self._start_stall_timer(self.transport)
        if self.on_pause_writing is not None:
            self.on_pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        if self.on_resume_writing is not None:
            self.on_resume_writing()

    def _start_stall_timer(self, transport: asyncio.Transport) -> None:
        allowed = transport.get_write_buffer_size() - STALL_BYTES

        def check_progress() -> None:
            if transport.get_write_buffer_size() > allowed:
                transport.abort()
            else:
                self._start_stall_timer(transport)

        self._stall_timer = self._loop.call_later(STALL_SECONDS, check_progress)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        super().connection_lost(exc)
        on_disconnect, self.on_disconnect = self.on_disconnect, None
        if on_disconnect is not None:
            on_disconnect()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to a request that cannot be routed: invalid HTTP or oversized headers, or a failure here.

        A ConnectionError is the end of a request whose client has left: it is recorded already, and nobody reads the
        response.
        """
        if isinstance(exc, ConnectionError):
            return _discarded_response()
        client_fault = status < HTTPStatus.INTERNAL_SERVER_ERROR
        if not client_fault:
            log.error("request aborted", exc_info=exc)
        error = GatewayError(
            _MESSAGES.get(HTTPStatus(status)) or HTTPStatus(status).phrase,
            status=status,
            type="invalid_request_error" if client_fault else "server_error",
            code="bad_framing" if client_fault else "internal_error",
            fault=Fault.CALLER if client_fault else Fault.GATEWAY,
        )
        response = web.Response(
            status=status,
            body=error.body(),
            headers={**error.http_headers(), "x-request-id": self._on_protocol_error(error), "Server": "tee-gateway"},
            content_type="application/json",
        )
        response.force_close()
        return response


def _close_if_unreadable(requests: Sequence[tuple[RawRequestMessage, Any]]) -> list[tuple[RawRequestMessage, Any]]:
    """``requests`` with ``Connection: close`` for the last one, an upgrade, if what follows it cannot be read reliably.

    aiohttp's parser drops the rest of the read that completes an upgrade to anything but WebSocket, be it the next
    request or its beginning, and takes the content of a CONNECT request for the next one.
    """
    *earlier, (head, body) = requests
    protocol = head.headers.get("Upgrade", "")
    if head.method == "CONNECT" or not (protocol.isascii() and protocol.lower() == "websocket"):
        head = head._replace(should_close=True)
    return [*earlier, (head, body)]


def _error_item(status: HTTPStatus, error: HttpProcessingError | None = None) -> tuple[Any, Any]:
    """The item in aiohttp's message queue for a request that cannot be parsed."""
    error = error or BadHttpMessage(status.phrase)
    return _ErrInfo(status=status, exc=error, message=error.message), EMPTY_PAYLOAD


def _discarded_response() -> web.Response:
    response = web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
    response.force_close()
    return response
