"""Which addresses are public on the internet."""

import pytest

from gateway.upstreams.public_addresses import is_public

INSIDE = [
    "0.0.0.0",  # noqa: S104
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "fe80::1",
    "fe80::1%eth0",
    "ff0e::1",
    "2001:db8::1",
    "2001::1",
    "::ffff:127.0.0.1",
    "2002:a00:1::",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "localhost",
    "127.1",
]


@pytest.mark.parametrize("address", ["", *INSIDE])
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)
