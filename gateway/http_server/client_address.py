"""Where a request comes from, as far as that can be known."""

from ipaddress import IPv6Address, IPv6Network

from aiohttp import web

from gateway.settings import is_loopback


def client_address(request: web.BaseRequest) -> str:
    """The peer's address, or what the proxy on this machine says of its own peer; earlier entries are the client's
    word. Of IPv6 the network, since a client has 2**64 addresses in it."""
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
