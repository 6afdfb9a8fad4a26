"""The signature cache: who can read which entry, and its bounds."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.signature_cache import SignatureCache
from tests.clocks import Clock

CALL = ("0xpayer", "call_1", "weather", '{"city":"Oslo","days":2}')


def test_a_value_is_found_again_by_the_same_call() -> None:
    cache = SignatureCache()
    cache.put(*CALL, value="CpE")
    assert cache.get(*CALL) == "CpE"


@pytest.mark.parametrize(
    "other",
    [
        ("0xother", "call_1", "weather", '{"city":"Oslo","days":2}'),
        ("0xpayer", "call_2", "weather", '{"city":"Oslo","days":2}'),
        ("0xpayer", "call_1", "forecast", '{"city":"Oslo","days":2}'),
        ("0xpayer", "call_1", "weather", '{"city":"Rome","days":2}'),
        ("0xpayer", "call_1weather", "", '{"city":"Oslo","days":2}'),
        ("0xpayer", "call_1", "weather", "not json"),
    ],
    ids=["caller", "id", "name", "arguments", "shifted", "broken"],
)
def test_nothing_else_finds_it(other: tuple[str, str, str, str]) -> None:
    cache = SignatureCache()
    cache.put(*CALL, value="CpE")
    assert cache.get(*other) is None


def test_arguments_may_be_reformatted() -> None:
    cache = SignatureCache()
    cache.put(*CALL, value="CpE")
    assert cache.get("0xpayer", "call_1", "weather", '{ "days": 2, "city": "Oslo" }') == "CpE"


def test_absent_arguments_are_the_empty_object() -> None:
    cache = SignatureCache()
    cache.put("a", "c", "now", "{}", "s")
    assert cache.get("a", "c", "now", "") == "s"


def test_broken_arguments_still_name_a_call() -> None:
    cache = SignatureCache()
    cache.put("a", "c", "now", '{"half', "s")
    assert cache.get("a", "c", "now", '{"half') == "s"


def test_an_entry_is_shared_with_another_process_as_json() -> None:
    cache, other = SignatureCache(), SignatureCache()
    cache.share = lambda keys, value: other.put_shared(keys, msgspec.json.decode(value))
    cache.put(*CALL, value={"blocks": [{"type": "thinking"}]})
    assert other.get(*CALL) == cache.get(*CALL) == {"blocks": [{"type": "thinking"}]}
    assert other.size == cache.size


def test_what_belongs_to_many_calls_is_shared_once() -> None:
    """Thoughts may be long, and be followed by hundreds of calls."""
    cache, shared = SignatureCache(), []
    cache.share = lambda keys, value: shared.append((len(keys), value))
    cache.put_all("a", [(str(number), "f", "{}") for number in range(300)], "thoughts")
    assert shared == [(300, b'"thoughts"')]
    assert [cache.get("a", str(number), "f", "{}") for number in range(300)] == ["thoughts"] * 300
    assert cache.size == 300 * len(shared[0][1])


def test_values_expire() -> None:
    clock = Clock()
    cache = SignatureCache(ttl=10, clock=clock)
    cache.put(*CALL, value="CpE")
    clock.now = 9.9
    assert cache.get(*CALL) == "CpE"
    clock.now = 10
    assert cache.get(*CALL) is None
    assert (len(cache), cache.size) == (0, 0)


def test_the_least_recently_used_goes_first() -> None:
    cache = SignatureCache(max_entries=2)
    cache.put("a", "1", "f", "{}", "one")
    cache.put("a", "2", "f", "{}", "two")
    assert cache.get("a", "1", "f", "{}") == "one"
    cache.put("a", "3", "f", "{}", "three")
    assert [cache.get("a", number, "f", "{}") for number in "123"] == ["one", None, "three"]


def test_large_values_push_others_out_and_too_large_ones_are_not_kept() -> None:
    cache = SignatureCache(max_bytes=100)
    cache.put("a", "1", "f", "{}", "x" * 60)
    cache.put("a", "2", "f", "{}", "y" * 60)
    assert cache.get("a", "1", "f", "{}") is None
    cache.put("a", "3", "f", "{}", "z" * 200)
    assert cache.get("a", "3", "f", "{}") is None
    assert cache.get("a", "2", "f", "{}") == "y" * 60


def test_a_later_value_replaces_an_earlier_one() -> None:
    cache = SignatureCache()
    cache.put(*CALL, value="first")
    cache.put(*CALL, value=[{"type": "thinking", "signature": "Eq"}])
    assert cache.get(*CALL) == [{"type": "thinking", "signature": "Eq"}]
    assert len(cache) == 1


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.text(max_size=40)), max_size=30))
def test_the_bounds_hold_whatever_is_kept(kept: list[tuple[str, str, Any]]) -> None:
    cache = SignatureCache(max_entries=5, max_bytes=80)
    for call_id, arguments, value in kept:
        cache.put("a", call_id, "f", arguments, value)
        assert len(cache) <= 5
        assert 0 <= cache.size <= 80
