"""The low-level server, and the limit on its connections."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from heapq import nsmallest
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.http_server.connection import OnProtocolError, ServerConnection

MAX_HEADER_BYTES = 32 * 1024
KEEP_ALIVE_SECONDS = 130.0
"""Longer than proxies keep an idle connection, 90 s in nitriding (Go) and 120 s in Caddy: one that sends a request
while the connection is being closed here answers it with 502, since it cannot send a POST again."""
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
log = logging.getLogger(__name__)


class HttpServer(web.Server):
    """A low-level aiohttp server of ``ServerConnection``s, at most ``max_connections`` of them.

    To accept one more, the connections that have been idle longest are closed, a few at a time because finding them
    takes a scan of all; if none is idle, the new one is closed.
    """

    def __init__(self, handler: Handler, on_protocol_error: OnProtocolError, max_connections: int) -> None:
        super().__init__(handler)
        self._on_protocol_error = on_protocol_error
        self._max_connections = max_connections
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

    def __call__(self) -> ServerConnection:
        return ServerConnection(self, self._on_protocol_error, loop=asyncio.get_running_loop(), **self._options)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._connections) > self._max_connections:
            idle = [each for each in self._connections if each._waiter is not None and not each._waiter.done()]
            longest_idle = nsmallest(
                1 + self._max_connections // 64, idle, key=lambda each: each._next_keepalive_close_time
            )
            for each in longest_idle:
                each.force_close()
            if not longest_idle:
                asyncio.get_running_loop().call_soon(handler.force_close)  # its task has not started yet
