"""Digests equal pycryptodome's for every length and in every thread."""

from concurrent.futures import ThreadPoolExecutor
from random import Random

from Crypto.Hash import keccak
from hypothesis import given
from hypothesis import strategies as st

from gateway.keccak import keccak256

EMPTY = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_the_digest_of_nothing() -> None:
    assert keccak256(b"").hex() == EMPTY


@given(st.binary(max_size=600))
def test_digests_are_those_of_the_library(data: bytes) -> None:
    assert keccak256(data) == keccak.new(digest_bits=256, data=data).digest()


def test_threads_do_not_meet() -> None:
    dice = Random(7)
    messages = [dice.randbytes(dice.randrange(4000)) for _ in range(400)]
    expected = [keccak.new(digest_bits=256, data=message).digest() for message in messages]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(keccak256, messages * 5)) == expected * 5
