"""The connections to one origin, and calls over them: aiohttp opens, secures and pools; the rest is ours."""

import asyncio
import ssl
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from gateway.http_client.connection import Wire
from gateway.http_client.response import Response, UnreachableError

_STEPS_TO_CONNECT = 3
"""A place in the pool, the name's addresses, the connection: only the last one has a limit of its own."""
_WRITTEN_AT_ONCE = 1024 * 1024
"""Larger bodies are written in pieces, between which others have their turn."""


class Pool:
    """Must be made and closed inside the event loop.

    ``url`` is http or https; its path goes before those of the calls, its credentials and ``headers`` with each. At
    most ``connections`` are open, one that is not in use for ``keep_alive`` seconds; ``connect`` seconds are given to
    open one. Redirects are answers like others.
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
        self._connector = _Connector(
            limit=connections, ttl_dns_cache=300, keepalive_timeout=keep_alive, ssl=tls or True
        )
        # What the connector wants to know of where to connect to; it is never sent.
        self._destination = _Destination("POST", origin, loop=asyncio.get_running_loop())
        self._timeout = aiohttp.ClientTimeout(total=None, connect=_STEPS_TO_CONNECT * connect, sock_connect=connect)
        self._path = origin.raw_path.rstrip("/")
        known = self._destination.headers
        self._head = _lines({name: known[name] for name in ("Host", "Authorization") if name in known} | {**headers})

    async def close(self) -> None:
        """Answers under way break."""
        await self._connector.close()

    @property
    def in_use(self) -> int:
        """Connections that a call has."""
        return len(self._connector._acquired)

    def encoded(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """A request as it goes over the wire. Raises ValueError for headers that are none."""
        head = (
            f"{method} {self._path}{path} HTTP/1.1\r\n{self._head}{_lines(headers)}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("latin-1") + body

    async def ask(self, request: bytes, patience: float, limit: int) -> Response:
        """The answer to a request, its headers read, which ``patience`` seconds of silence end.

        ``limit`` bounds what is taken of its body. Raises WireError when there is none.
        """
        response = None
        try:
            connection = await self._connector.connect(self._destination, [], self._timeout)
            wire = connection.protocol
            assert isinstance(wire, Wire)  # noqa: S101 - the connector makes no others
            response = Response(wire, connection, patience, limit)
            wire.send(request, response, _WRITTEN_AT_ONCE)
            await response.begun()
        except BaseException as error:
            if response is not None:
                response.close()
            if isinstance(error, TimeoutError | aiohttp.ClientConnectionError | OSError):
                raise UnreachableError from None
            raise
        return response

    async def fetch(self, request: bytes, seconds: float, limit: int) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, fields (as in ``Response``) and body of the answer to a request.

        Raises WireError, and TimeoutError after ``seconds``.
        """
        async with asyncio.timeout(seconds):
            response = await self.ask(request, seconds, limit)
            try:
                return response.status, response.fields, await response.read(limit)
            finally:
                response.close()


class _Destination(aiohttp.ClientRequest):
    @cached_property
    def connection_key(self) -> ConnectionKey:
        """The same for every call."""
        return super().connection_key


class _Connector(aiohttp.TCPConnector):
    """A pool of wires."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(Wire, loop=self._loop)  # type: ignore[assignment] # a wire is a ResponseHandler


def _lines(headers: Mapping[str, str]) -> str:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not lines.count("\r") == lines.count("\n") == len(headers):
        raise ValueError("a line break in a header")
    return lines
