"""The sockets on which the gateway listens."""

import errno
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.listeners import Audience, Listener, bind
from tests.running_gateway import StartGateway

NOBODYS = "192.0.2.1"
HOST = Listener("host", 0, Audience.LOCAL)

Resolve = Callable[..., None]


def family(address: str) -> socket.AddressFamily:
    """On a machine whose kernel has no IPv6."""
    return socket.AF_UNSPEC if ":" in address else socket.AF_INET


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Lets every host have the given addresses."""

    def to(*addresses: str) -> None:
        def found(host: str, port: int, **_: Any) -> list[Any]:
            return [(family(address), socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", found)

    return to


def listening(port: int = 0) -> list[str]:
    bound = bind(replace(HOST, port=port))
    addresses = [server.getsockname()[0] for server in bound]
    for server in bound:
        server.close()
    return addresses


def test_a_host_is_bound_by_all_its_addresses(resolve: Resolve) -> None:
    """Of localhost, the first is ``::1``, where nobody looks who was told of 127.0.0.1."""
    resolve("127.0.0.1", "127.0.0.2", "127.0.0.1")
    assert listening() == ["127.0.0.1", "127.0.0.2"]


@pytest.mark.parametrize(("lacking", "error"), [(NOBODYS, errno.EADDRNOTAVAIL), ("::1", errno.EAFNOSUPPORT)])
def test_an_address_that_the_machine_lacks_is_passed_over(lacking: str, error: int, resolve: Resolve) -> None:
    resolve(lacking, "127.0.0.1")
    assert listening() == ["127.0.0.1"]
    resolve(lacking)
    with pytest.raises(OSError, match=r".") as caught:
        listening()
    assert caught.value.errno == error


def test_an_address_that_is_in_use_is_not_passed_over(resolve: Resolve) -> None:
    resolve("127.0.0.1", "127.0.0.2")
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match=r".") as caught:
        listening(other.getsockname()[1])
    assert caught.value.errno == errno.EADDRINUSE


async def test_one_worker_passes_it_over_too(start_gateway: StartGateway, resolve: Resolve) -> None:
    server = (await start_gateway()).server
    resolve(NOBODYS, "127.0.0.1", "127.0.0.2")
    assert [host for host, _ in await server.start([HOST])] == ["127.0.0.1", "127.0.0.2"]
