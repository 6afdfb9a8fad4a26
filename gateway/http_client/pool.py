"""A pool of HTTP/1.1 connections to one origin; aiohttp opens, secures and pools them."""

import asyncio
import ssl
from collections.abc import Mapping
from functools import cached_property

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from gateway.header_lines import header_lines
from gateway.http_client.connection import ClientConnection
from gateway.http_client.connector import Connector
from gateway.http_client.response import ConnectError, Response

_CONNECT_STEPS = 3
"""Waiting for a pool slot, resolving the name, connecting: only the last one has a timeout of its own."""


class ConnectionPool:
    """Must be created and closed inside the event loop.

    ``url`` is http or https; its path is prefixed to those of the requests, its credentials and ``headers`` are sent
    with each. At most ``connections`` are open; an idle one is closed after ``keep_alive`` seconds. ``connect`` is the
    connect timeout in seconds. Redirects are not followed.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        connections: int,
        connect: float,
        keep_alive: float = 60.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        origin = URL(url.rstrip("/"), encoded=True)
        self._connector = Connector(
            ClientConnection, limit=connections, ttl_dns_cache=300, keepalive_timeout=keep_alive, ssl=tls or True
        )
        self._destination = _Destination("POST", origin, loop=asyncio.get_running_loop())
        self._new_connection = _NewConnection("POST", origin, loop=asyncio.get_running_loop())
        self._timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_STEPS * connect, sock_connect=connect)
        self._path = origin.raw_path.rstrip("/")
        known = self._destination.headers
        self._head = header_lines(
            {name: known[name] for name in ("Host", "Authorization") if name in known} | {**headers}
        )

    async def close(self) -> None:
        """Close all connections; responses under way fail."""
        await self._connector.close()

    @property
    def closed(self) -> bool:
        return self._connector.closed

    @property
    def in_use(self) -> int:
        """The number of connections that carry a request."""
        return len(self._connector._acquired)

    def encode(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """A request as bytes on the wire. Raises ValueError for invalid headers."""
        lines = header_lines(headers)
        head = f"{method} {self._path}{path} HTTP/1.1\r\n{self._head}{lines}Content-Length: {len(body)}\r\n\r\n"
        return head.encode("latin-1") + body

    async def send(self, request: bytes, read_timeout: float, max_bytes: int, *, reuse: bool = True) -> Response:
        """Send a request and return its response once the headers are there.

        The response fails after ``read_timeout`` seconds without data, and when its body exceeds ``max_bytes``.
        Without ``reuse`` a new connection is opened: once one was lost, the idle ones may be dead as well.
        Raises TransportError.
        """
        response = None
        destination = self._destination if reuse else self._new_connection
        try:
            pooled = await self._connector.connect(destination, [], self._timeout)
            pooled._key = self._destination.connection_key  # it returns to the same pool, new or not
            connection = pooled.protocol
            assert isinstance(connection, ClientConnection)  # noqa: S101 - the connector creates no others
            response = Response(connection, pooled, read_timeout, max_bytes)
            connection.send(request, response)
            await response.wait_for_headers()
        except BaseException as error:
            self._connector.expire_addresses()  # the host may have moved
            if response is not None:
                response.close()
            if isinstance(error, TimeoutError | aiohttp.ClientConnectionError | OSError):
                raise ConnectError from None
            raise
        return response

    async def fetch(
        self, request: bytes, total_seconds: float, max_bytes: int, *, reuse: bool = True
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; return the status, the headers by lower-case name and the body of its response.

        Raises TransportError, and TimeoutError after ``total_seconds``.
        """
        async with asyncio.timeout(total_seconds):
            response = await self.send(request, total_seconds, max_bytes, reuse=reuse)
            try:
                return response.status, response.headers, await response.read(max_bytes)
            finally:
                response.close()


class _Destination(aiohttp.ClientRequest):
    """Tells the connector where to connect to; it is never sent."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        """Computed once: it is the same for every request."""
        return super().connection_key


class _NewConnection(_Destination):
    """The same destination, but none of the pooled connections to it."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        """A key under which no connection is ever idle: they are released under that of ``_Destination``."""
        return super().connection_key._replace(proxy_headers_hash=1)
