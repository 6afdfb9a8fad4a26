"""Public internet addresses, and an aiohttp resolver that refuses hosts with any other."""

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import AF_INET, AddressFamily

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_MAX_CONCURRENT_LOOKUPS = 2
"""Each occupies a thread of the pool (four in uvloop) that vendors' hosts are resolved in as well."""


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

    A host with one forbidden address among several is refused. Callers choose the hosts, so their slow name servers
    must not exhaust the thread pool: a lookup holds its slot until it ends, even after its caller has been cancelled.
    """

    def __init__(self, allowed: Callable[[str], bool], inner: AbstractResolver | None = None) -> None:
        self._allowed = allowed
        self._inner = inner or aiohttp.ThreadedResolver()
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT_LOOKUPS)
        self._lookups: set[asyncio.Task[list[ResolveResult]]] = set()

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        await self._slots.acquire()
        lookup = asyncio.create_task(self._inner.resolve(host, port, family))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._on_done)
        found = await asyncio.shield(lookup)
        if not all(self._allowed(result["host"]) for result in found):
            raise ForbiddenAddressError(host)
        return found

    def _on_done(self, lookup: "asyncio.Task[list[ResolveResult]]") -> None:
        self._slots.release()
        self._lookups.discard(lookup)
        if not lookup.cancelled():
            lookup.exception()  # mark as retrieved: the waiter may have been cancelled

    async def close(self) -> None:
        for lookup in self._lookups:
            lookup.cancel()
        await self._inner.close()
