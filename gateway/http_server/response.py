"""Answers of the hot path, written to the connection as bytes.

aiohttp's own responses cost several times the writing: they are made for cookies, compression, ranges and bodies of
every kind. These two fit where its server takes a response, and do what answers need.
"""

import asyncio
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

_STATUS, _REASON = HTTPStatus.OK.value, HTTPStatus.OK.phrase


class _Written(web.StreamResponse):
    """A 200 whose head leaves in one piece with what follows it. ``fields`` are its headers, added to until then."""

    def __init__(self, fields: dict[str, str]) -> None:
        self._status, self._reason = _STATUS, _REASON
        self._headers = fields  # type: ignore[assignment] # nothing here needs more than names and values
        self._request: web.BaseRequest | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'sent' if self.prepared else 'to be sent'}>"

    @property
    def prepared(self) -> bool:
        return self._request is not None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait until the client has taken nearly everything, so that its next request does not come before."""
        connection = None if self._request is None else self._request.protocol
        if connection is not None and connection.writing_paused:
            await connection._drain_helper()

    def _begin(self, request: web.BaseRequest, framing: str) -> bytes:
        """The head. ``framing`` is the header line that tells where the body ends."""
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        self._request = request
        fields = "".join([f"{name}: {value}\r\n" for name, value in self._headers.items()])
        if not fields.count("\r") == fields.count("\n") == len(self._headers):
            raise ValueError("a line break in a header")
        version, connection = "1.1", "" if self._keep_alive else "Connection: close\r\n"
        if request.version < HttpVersion11:
            version, connection = "1.0", connection or "Connection: keep-alive\r\n"
        head = f"HTTP/{version} 200 OK\r\n{fields}{framing}Date: {rfc822_formatted_time()}\r\n{connection}\r\n"
        return head.encode("latin-1")


class WholeAnswer(_Written):
    """A JSON body."""

    def __init__(self, body: bytes, fields: dict[str, str]) -> None:
        super().__init__(fields)
        self._content = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self._request is None:
            framing = f"Content-Type: application/json\r\nContent-Length: {len(self._content)}\r\n"
            _open(request).write(self._begin(request, framing) + self._content)
        return None


class EventStream(_Written):
    """An event stream in chunks; in HTTP/1.0 it ends with its connection."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__({"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", **fields})
        self._chunks = True
        self._transport: asyncio.Transport | None = None

    def send(self, request: web.BaseRequest, data: bytes) -> None:
        """Events; the head leaves with the first, in one segment (practice.md 1). Raises ConnectionResetError."""
        transport = self._transport
        if transport is None or transport.is_closing():
            transport, data = _open(request), self._opened(request, data)
            self._transport = transport
        elif self._chunks:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        transport.write(data)

    def send_last(self, request: web.BaseRequest, data: bytes) -> None:
        """The last events, and the end of the body with them."""
        transport = _open(request)
        if self._request is None:
            data = self._opened(request, data)
        elif self._chunks:
            data = _chunk(data)
        transport.write(data + b"0\r\n\r\n" if self._chunks else data)

    def _opened(self, request: web.BaseRequest, data: bytes) -> bytes:
        """The first events, their head before them."""
        self._chunks = request.version >= HttpVersion11
        if not self._chunks:
            self._keep_alive = False
            return self._begin(request, "") + data
        return self._begin(request, "Transfer-Encoding: chunked\r\n") + _chunk(data)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _open(request: web.BaseRequest) -> asyncio.Transport:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has left")
    return transport
