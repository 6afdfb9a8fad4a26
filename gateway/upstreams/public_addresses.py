"""Which addresses belong to the public internet, and a resolver that finds no others."""

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import AF_INET, AddressFamily

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_LOOKUPS_AT_ONCE = 2
"""Each takes one of the few threads, four in uvloop, in which vendors' names are looked up as well."""


def is_public(address: str) -> bool:
    """The address belongs to the public internet, and so does one that it embeds (mapped, 6to4, NAT64)."""
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
    """A host resolves to an address that the policy does not allow."""


class CheckedResolver(AbstractResolver):
    """Resolves hosts for the connector, which then connects to these addresses and no others.

    One forbidden address among several refuses the host. Callers choose the hosts, so slow name servers of theirs must
    not keep all lookups busy: one counts until it has ended, which may be long after anybody waits for it.
    """

    def __init__(self, allowed: Callable[[str], bool], inner: AbstractResolver | None = None) -> None:
        self._allowed = allowed
        self._inner = inner or aiohttp.ThreadedResolver()
        self._turns = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self._lookups: set[asyncio.Task[list[ResolveResult]]] = set()

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        await self._turns.acquire()
        lookup = asyncio.create_task(self._inner.resolve(host, port, family))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._ended)
        found = await asyncio.shield(lookup)
        if not all(self._allowed(result["host"]) for result in found):
            raise ForbiddenAddressError(host)
        return found

    def _ended(self, lookup: "asyncio.Task[list[ResolveResult]]") -> None:
        self._turns.release()
        self._lookups.discard(lookup)
        if not lookup.cancelled():
            lookup.exception()  # is nobody's, if nobody waited

    async def close(self) -> None:
        for lookup in self._lookups:
            lookup.cancel()
        await self._inner.close()
