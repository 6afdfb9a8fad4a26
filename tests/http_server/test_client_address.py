"""Client addresses: which forwarding headers are trusted, and which addresses belong to one client."""

from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.http_server.client_address import client_address


def address(peer: str, *forwarded: str) -> str:
    transport = Mock()
    transport.get_extra_info = lambda name, default=None: (peer, 1234) if name == "peername" else default
    headers = [("Host", "gateway"), *(("X-Forwarded-For", entry) for entry in forwarded)]
    return client_address(make_mocked_request("GET", "/", headers, transport=transport))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.1", (), "203.0.113.1"),
        ("203.0.113.1", ("198.51.100.1",), "203.0.113.1"),
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("198.51.100.9, 198.51.100.1",), "198.51.100.1"),
        ("::1", ("198.51.100.9", "198.51.100.1"), "198.51.100.1"),
        ("::ffff:127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("::ffff:203.0.113.1", (), "203.0.113.1"),
        ("2001:db8:0:1:2:3:4:5", (), "2001:db8:0:1::/64"),
        ("127.0.0.1", ("2001:db8:0:1::9",), "2001:db8:0:1::/64"),
        ("fe80::1%eth0", (), "fe80::/64"),
        ("127.0.0.1", ("a:b:c",), "a:b:c"),
        ("127.0.0.1", ("",), ""),
    ],
)
def test_addresses(peer: str, forwarded: tuple[str, ...], expected: str) -> None:
    assert address(peer, *forwarded) == expected
