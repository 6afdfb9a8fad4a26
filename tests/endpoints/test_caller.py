"""How callers are told apart before anything in their requests is verified."""

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.endpoints.caller import caller_key


def key_of(authorization: str, address: str) -> str:
    headers = {"Authorization": authorization, "X-Forwarded-For": address}
    return caller_key(make_mocked_request("POST", "/", headers))


@pytest.mark.parametrize("length", [1, 30_000])
def test_a_callers_key_is_short_and_no_others(length: int) -> None:
    """It is hashed with every tool call of a conversation: with 60 KB of it, 8,000 calls took most of a second."""
    callers = [("a" * length, "b"), ("a" * length, "c"), ("a" * length + "b", ""), ("", "a" * length + "b")]
    keys = [key_of(*caller) for caller in callers]
    assert len(set(keys)) == len(callers)
    assert keys == [key_of(*caller) for caller in callers]
    assert max(map(len, keys)) <= 512
