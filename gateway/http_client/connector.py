"""aiohttp's connection pool, with connections that outlive silence, lose nothing while paused and end when closed."""

import asyncio
import math
import socket
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

_PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6, "TCP_USER_TIMEOUT": 60_000}
"""TCP options, in seconds, in number and in milliseconds; ``TCP_KEEPALIVE`` is the name of the first in macOS.

NAT gateways forget a connection that is silent for 120 s (Google's) or 350 s (Amazon's), and a model may think for
longer (openai/openai-python#3269). A peer that has vanished is noticed within a minute: by the probes, or by
``TCP_USER_TIMEOUT`` if it has not acknowledged a request, during which the kernel does not probe but repeats it for
fifteen minutes.
"""
_TCP_OPTIONS = [(getattr(socket, name), value) for name, value in _PROBES.items() if hasattr(socket, name)]


class AbortingHandler(ResponseHandler):
    """One client connection; closing it is aborting it.

    Closed, TLS in uvloop reads on for up to 30 s, and as fast as it can, from a peer that does not heed its
    ``close_notify`` (MagicStack/uvloop#471): a vendor would go on generating, a file go on growing beyond its limit.

    Paused, it reads 256 KB ahead, and drops what it has read when it sees the peer close (MagicStack/uvloop#661). With
    the lowest limit it stops after one read, and sees nothing more until reading is resumed.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if hasattr(transport, "set_read_buffer_limits"):  # TLS
            transport.set_read_buffer_limits(high=1)

    def close(self) -> None:
        self.abort()


class Connector(aiohttp.TCPConnector):
    """A pool of connections of the class ``handler``."""

    def __init__(self, handler: type[AbortingHandler] = AbortingHandler, **options: Any) -> None:
        super().__init__(socket_factory=_open_socket, **options)
        self._factory = partial(handler, loop=self._loop)  # type: ignore[assignment] # it is a ResponseHandler

    def expire_addresses(self) -> None:
        """Resolve every host again at its next connection.

        ``clear_dns_cache`` fails those who are about to take the result of another's lookup from the cache (KeyError).
        """
        resolved_at = self._cached_hosts._timestamps
        resolved_at.update(dict.fromkeys(resolved_at, -math.inf))


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _TCP_OPTIONS:
        opened.setsockopt(socket.IPPROTO_TCP, option, value)
    return opened
