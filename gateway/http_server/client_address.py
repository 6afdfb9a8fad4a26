"""The address of the client behind a request."""

from ipaddress import IPv6Address, IPv6Network

from aiohttp import web

from gateway.loopback import is_loopback


def client_address(request: web.BaseRequest) -> str:
    """The peer's address, or the last entry of ``X-Forwarded-For`` where a proxy on this machine is the peer.

    Earlier entries are the client's own claim. For IPv6 the /64 network, since one client has 2**64 addresses in it.
    """
    peer = request.remote or ""
    forwarded = request.headers.getall("X-Forwarded-For", ())
    return _network(forwarded[-1].rpartition(",")[2].strip() if forwarded and is_loopback(peer) else peer)


def _network(address: str) -> str:
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or IPv6Network((parsed.packed[:8] + bytes(8), 64)))
