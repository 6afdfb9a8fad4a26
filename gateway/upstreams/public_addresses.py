"""Public internet addresses, and an aiohttp resolver that refuses hosts with any other."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import AF_INET, AddressFamily

from aiohttp.abc import AbstractResolver, ResolveResult

_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_THREADS = 64
"""A lookup whose name server is silent holds its thread for ten seconds, and one request has up to 16 of them."""


def is_public(address: str) -> bool:
    """``address`` is global unicast, and so is an IPv4 address that it embeds (mapped, 6to4, NAT64)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        embedded = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in _NAT64:
            embedded = IPv4Address(int(parsed) & 0xFFFF_FFFF)
        if embedded is not None:
            return is_public(str(embedded))
        if parsed.is_site_local or parsed.scope_id is not None or parsed in _LOCAL_NAT64:
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


class ForbiddenAddressError(Exception):
    """A host has an address that the policy does not allow."""


class CheckedResolver(AbstractResolver):
    """Resolves hosts for a connector, which then connects to exactly these addresses.

    A host with one forbidden address among several is refused.
    """

    def __init__(self, allowed: Callable[[str], bool], inner: AbstractResolver | None = None) -> None:
        self._allowed = allowed
        self._inner = inner or SeparateResolver()

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not all(self._allowed(result["host"]) for result in found):
            raise ForbiddenAddressError(host)
        return found

    async def close(self) -> None:
        await self._inner.close()


class SeparateResolver(AbstractResolver):
    """Resolves hosts in threads of its own.

    Callers choose the hosts, and a slow name server must not exhaust the threads in which vendors' hosts are resolved
    (four in uvloop).
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "lookup")

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=0)
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
