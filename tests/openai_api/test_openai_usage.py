"""The usage convention: sums, totals and OpenAI's object."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.usage import Usage

COUNTS = [field.name for field in msgspec.structs.fields(Usage) if field.type is int]
usages = st.builds(
    Usage,
    **dict.fromkeys(COUNTS, st.integers(0, 10**6)),
    tier=st.sampled_from(["", "flex", "priority"]),
    region=st.sampled_from(["", "us"]),
    estimated=st.booleans(),
)


def test_the_object_of_a_plain_answer() -> None:
    assert Usage(prompt_tokens=12, completion_tokens=7, cached_tokens=5, reasoning_tokens=3).as_openai() == {
        "prompt_tokens": 12,
        "completion_tokens": 7,
        "total_tokens": 19,
        "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 3,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def test_rare_details_appear_when_there_are_any() -> None:
    usage = Usage(
        prompt_tokens=100,
        completion_tokens=50,
        cache_write_tokens=4,
        cache_write_1h_tokens=6,
        tool_prompt_tokens=7,
        audio_tokens=3,
        image_tokens=9,
        completion_audio_tokens=2,
        accepted_prediction_tokens=5,
        rejected_prediction_tokens=8,
    ).as_openai()
    assert usage["prompt_tokens_details"] == {
        "cached_tokens": 0,
        "audio_tokens": 3,
        "cache_write_tokens": 10,
        "cache_write_1h_tokens": 6,
        "tool_use_tokens": 7,
    }
    assert usage["completion_tokens_details"] == {
        "reasoning_tokens": 0,
        "audio_tokens": 2,
        "accepted_prediction_tokens": 5,
        "rejected_prediction_tokens": 8,
        "image_tokens": 9,
    }
    assert Usage(cache_write_1h_tokens=6).as_openai()["prompt_tokens_details"]["cache_write_tokens"] == 6


def test_searches_are_named_because_they_are_charged() -> None:
    assert Usage(web_searches=2).as_openai()["server_tool_use"] == {"web_search_requests": 2}
    assert "server_tool_use" not in Usage().as_openai()


@given(usages)
def test_prompt_and_completion_are_the_total(usage: Usage) -> None:
    told = usage.as_openai()
    assert told["total_tokens"] == usage.total_tokens == told["prompt_tokens"] + told["completion_tokens"]


@given(usages, usages)
def test_sums(first: Usage, second: Usage) -> None:
    total = first + second
    assert all(getattr(total, name) == getattr(first, name) + getattr(second, name) for name in COUNTS)
    assert total.tier == (second.tier or first.tier)
    assert total.region == (second.region or first.region)
    assert total.estimated == (first.estimated or second.estimated)


@given(usages)
def test_nothing_added_changes_nothing(usage: Usage) -> None:
    assert usage + Usage() == Usage() + usage == usage


@given(usages)
def test_counts_from_zero_are_plausible(usage: Usage) -> None:
    assert usage.plausible


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_below_zero_or_beyond_all_answers_is_not(name: str) -> None:
    for count in (-1, 10**10, 2**64, 10**90):
        assert not msgspec.structs.replace(Usage(), **{name: count}).plausible
