"""Responses of the hot path, written to the transport as bytes.

aiohttp's own responses support cookies, compression, ranges and bodies of every kind, and cost several times the
writing. These two implement what aiohttp's server calls, and no more.
"""

import asyncio
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from gateway.header_lines import header_lines

_STATUS, _REASON = HTTPStatus.OK.value, HTTPStatus.OK.phrase


class _RawResponse(web.StreamResponse):
    """A 200 whose head is written together with the first bytes of the body. ``headers`` may be added to until then."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._status, self._reason = _STATUS, _REASON
        self._headers = headers  # type: ignore[assignment] # nothing here needs more than names and values
        self._request: web.BaseRequest | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'sent' if self.prepared else 'to be sent'}>"

    @property
    def prepared(self) -> bool:
        return self._request is not None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait until the write buffer is below its high-water mark, before the connection's next request is served."""
        connection = None if self._request is None else self._request.protocol
        if connection is not None and connection.writing_paused:
            await connection._drain_helper()

    def _encode_head(self, request: web.BaseRequest, framing: str) -> bytes:
        """Status line and headers. ``framing`` are the header lines that delimit the body."""
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        self._request = request
        lines = header_lines(self._headers)
        version, connection = "1.1", "" if self._keep_alive else "Connection: close\r\n"
        if request.version < HttpVersion11:
            version, connection = "1.0", connection or "Connection: keep-alive\r\n"
        head = f"HTTP/{version} 200 OK\r\n{lines}{framing}Date: {rfc822_formatted_time()}\r\n{connection}\r\n"
        return head.encode("latin-1")


class JSONResponse(_RawResponse):
    """A complete JSON body."""

    def __init__(self, body: bytes, headers: dict[str, str]) -> None:
        super().__init__(headers)
        self._content = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self._request is None:
            framing = f"Content-Type: application/json\r\nContent-Length: {len(self._content)}\r\n"
            _transport(request).write(self._encode_head(request, framing) + self._content)
        return None


class StreamingResponse(_RawResponse):
    """A body of unknown length, by default an event stream: chunked in HTTP/1.1, close-delimited in HTTP/1.0."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__({"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", **headers})
        self._chunked = True
        self._transport: asyncio.Transport | None = None

    def send(self, request: web.BaseRequest, data: bytes) -> None:
        """Send ``data``, the head in one segment with the first (practice.md 1). Raises ConnectionResetError."""
        transport = self._transport
        if transport is None or transport.is_closing():
            transport, data = _transport(request), self._with_head(request, data)
            self._transport = transport
        elif self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        transport.write(data)

    def send_last(self, request: web.BaseRequest, data: bytes) -> None:
        """Send ``data`` and the end of the body. Raises ConnectionResetError."""
        transport = _transport(request)
        if self._request is None:
            data = self._with_head(request, data)
        elif self._chunked:
            data = _chunk(data)
        transport.write(data + b"0\r\n\r\n" if self._chunked else data)

    def _with_head(self, request: web.BaseRequest, data: bytes) -> bytes:
        self._chunked = request.version >= HttpVersion11
        if not self._chunked:
            self._keep_alive = False
            return self._encode_head(request, "") + data
        return self._encode_head(request, "Transfer-Encoding: chunked\r\n") + _chunk(data)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _transport(request: web.BaseRequest) -> asyncio.Transport:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has left")
    return transport
