import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.name_map import NameMap

REFUSED = re.compile(r"[^a-zA-Z0-9_-]")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("weather", "weather"), ("a.b:c", "a_b_c"), ("", "_"), ("météo", "m_t_o"), ("x" * 20, "x" * 8)],
)
def test_a_name_keeps_what_the_upstream_allows(name: str, expected: str) -> None:
    assert NameMap(REFUSED, 8).outbound(name) == expected


def test_a_clash_gets_a_suffix_within_the_limit() -> None:
    names = NameMap(REFUSED, 8)
    assert [names.outbound(name) for name in ("search.a", "search:a", "search_a", "search/ab")] == [
        "search_a",
        "search_2",
        "search_3",
        "search_4",
    ]
    assert names.inbound("search_2") == "search:a"


def test_a_name_that_was_never_sent_comes_back_as_it_is() -> None:
    assert NameMap(REFUSED, 8).inbound("invented") == "invented"


def test_a_renewed_name_is_another_one_from_there_on() -> None:
    names = NameMap(REFUSED)
    assert [names.reissue(name) for name in ("a", "a", "a_2", "a")] == ["a", "a_2", "a_2_2", "a_3"]
    assert names.outbound("a") == "a_3"
    assert names.inbound("a_2") == "a"


def test_ids_are_never_shortened() -> None:
    long = "call." + "9" * 500
    assert NameMap(REFUSED).outbound(long) == "call_" + "9" * 500


def test_a_pattern_may_judge_the_first_character_alone() -> None:
    names = NameMap(re.compile(r"^[^a-zA-Z_]|[^a-zA-Z0-9_]"), 64)
    assert names.outbound("2fa") == "_fa"


@given(st.lists(st.text(max_size=12)), st.one_of(st.none(), st.integers(4, 16)))
def test_every_name_is_allowed_distinct_and_reversible(given_names: list[str], limit: int | None) -> None:
    names = NameMap(REFUSED, limit)
    sent = {name: names.outbound(name) for name in given_names}
    assert len(set(sent.values())) == len(set(given_names))
    for name, safe in sent.items():
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", safe)
        assert limit is None or len(safe) <= limit
        assert names.inbound(safe) == name
