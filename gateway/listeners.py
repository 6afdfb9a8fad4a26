"""Where the gateway listens, and who may reach its local routes there (design 4.6)."""

import errno
import socket
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from aiohttp import HttpVersion11, web

from gateway.loopback import is_loopback
from gateway.openai_api.errors import Fault, GatewayError
from gateway.settings import Settings

ENCLAVE_ADDRESS = "192.168.127.2"
HOST_LINK_PEER = "192.168.127.1"
BACKLOG = 1024
"""Connections that wait to be accepted, per socket."""
_LACKING = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_FOREIGN_HEADERS = ("X-Forwarded-For", "Forwarded", "Via", "Origin")


class Audience(Enum):
    """Who can reach a listener. Inside an enclave the loopback listener belongs to the public proxy."""

    PUBLIC = "public"
    HOST = "host"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Listener:
    host: str
    port: int
    audience: Audience


def listeners(settings: Settings) -> list[Listener]:
    """The listeners of a gateway: one outside an enclave, two inside."""
    if settings.enclave:
        return [
            Listener("127.0.0.1", settings.port, Audience.PUBLIC),
            Listener(ENCLAVE_ADDRESS, settings.port, Audience.HOST),
        ]
    return [Listener(settings.host, settings.port, Audience.LOCAL)]


def bind(listener: Listener) -> list[socket.socket]:
    """Listening sockets on each address of the host; raises OSError.

    Of the two addresses of localhost a container may lack one.
    """
    bound: list[socket.socket] = []
    lacking: OSError | None = None
    found = socket.getaddrinfo(listener.host, listener.port, type=socket.SOCK_STREAM)
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            bound.append(socket.create_server(address[:2], family=family, backlog=BACKLOG))
        except OSError as error:
            if error.errno not in _LACKING:
                raise
            lacking = error
    if lacking is not None and not bound:
        raise lacking
    return bound


def check_local(request: web.BaseRequest, audience: Audience) -> None:
    """Allow only this machine, or inside an enclave only the host link. Raises 403.

    Requests that a proxy passes on are refused too, known by its headers or by HTTP/1.0, which nginx before 1.29.7
    sends by default, and those of web pages in the operator's browser, known by ``Origin`` or by a domain name of this
    machine.
    """
    peer = request.remote or ""
    allowed = {
        Audience.PUBLIC: False,
        Audience.HOST: peer == HOST_LINK_PEER,
        Audience.LOCAL: is_loopback(peer),
    }[audience]
    foreign = request.version < HttpVersion11 or any(name in request.headers for name in _FOREIGN_HEADERS)
    if not allowed or foreign or _is_domain(request.headers.get("Host", "")):
        raise GatewayError(
            "This endpoint only accepts requests from the gateway's own host",
            status=403,
            type="permission_error",
            code="forbidden",
            fault=Fault.POLICY,
        )


def _is_domain(host: str) -> bool:
    """Whether ``host`` is a domain name: neither an address nor a name without dots, such as localhost."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return "." in name
    return False
