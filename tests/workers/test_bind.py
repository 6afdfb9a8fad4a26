"""The sockets that several workers share."""

import errno
import socket
from typing import Any

import pytest

from gateway.listeners import Audience, Listener
from gateway.workers.process import bind

NOBODYS = "192.0.2.1"


def listening(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> dict[str, Audience]:
    """The addresses that are bound, with their audiences, where a host has ``addresses``."""

    def found(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    bound = bind([Listener("host", 0, Audience.HOST)])
    told = {server.getsockname()[0]: audience for server, audience in bound.items()}
    for server in bound:
        server.close()
    return told


def test_a_host_is_bound_by_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by one worker. Of localhost, the first is ``::1``, where nobody looks who was told of 127.0.0.1."""
    assert listening(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.1") == {
        "127.0.0.1": Audience.HOST,
        "127.0.0.2": Audience.HOST,
    }


def test_an_address_that_the_machine_lacks_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listening(monkeypatch, NOBODYS, "127.0.0.1") == {"127.0.0.1": Audience.HOST}
    with pytest.raises(OSError, match=r".") as caught:
        listening(monkeypatch, NOBODYS)
    assert caught.value.errno == errno.EADDRNOTAVAIL
