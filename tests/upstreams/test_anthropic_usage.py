"""What Anthropic counted, streamed and complete, as OpenAI's usage (facts/providers.md 1.4, 3.11, 3.12)."""

from typing import Any

import pytest

from gateway.openai_api.usage import Usage
from tests.upstreams.anthropic_chats import HELLO, WEATHER, calls, chat, result
from tests.upstreams.anthropic_events import START_USAGE, complete, end, start, streamed, text
from tests.upstreams.decoding import put_together


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (START_USAGE, {"output_tokens": 15}, Usage(prompt_tokens=10, completion_tokens=15)),
        (
            START_USAGE,
            {"output_tokens": 15, "input_tokens": None, "cache_read_input_tokens": 7},
            Usage(prompt_tokens=17, completion_tokens=15, cached_tokens=7),
        ),
        (
            {
                "input_tokens": 3,
                "cache_read_input_tokens": 1111,
                "cache_creation_input_tokens": 418,
                "output_tokens": 1,
            },
            {"output_tokens": 33},
            Usage(prompt_tokens=1532, cached_tokens=1111, cache_write_tokens=418, completion_tokens=33),
        ),
        (
            {
                "input_tokens": 3,
                "cache_creation_input_tokens": 50,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
                "output_tokens": 1,
            },
            {"output_tokens": 2, "output_tokens_details": {"thinking_tokens": 1}},
            Usage(
                prompt_tokens=53,
                cache_write_tokens=20,
                cache_write_1h_tokens=30,
                completion_tokens=2,
                reasoning_tokens=1,
            ),
        ),
        (
            START_USAGE | {"service_tier": "priority", "inference_geo": "us"},
            {"output_tokens": 2},
            Usage(prompt_tokens=10, completion_tokens=2, tier="priority", region="us"),
        ),
        (
            START_USAGE | {"service_tier": "priority", "speed": "fast", "inference_geo": "not_available"},
            {"output_tokens": 2},
            Usage(prompt_tokens=10, completion_tokens=2, tier="fast"),
        ),
        (
            START_USAGE | {"service_tier": "standard", "speed": "standard", "inference_geo": "global"},
            {"output_tokens": 2},
            Usage(prompt_tokens=10, completion_tokens=2),
        ),
        (
            START_USAGE | {"service_tier": "batch"},
            {"output_tokens": 2},
            Usage(prompt_tokens=10, completion_tokens=2, tier="batch"),
        ),
    ],
)
def test_usage(first: dict[str, Any], last: dict[str, Any], expected: Usage) -> None:
    assert put_together(streamed(start(first), *text(0, "Hi"), *end(usage=last))).usage == expected
    merged = first | {name: value for name, value in last.items() if value is not None}
    assert complete([{"type": "text", "text": "Hi"}], usage=merged).usage == expected


@pytest.mark.parametrize(
    ("details", "output", "unbilled"),
    [
        (None, 0, True),
        ({"category": None}, 0, True),
        ({"category": "cyber"}, 0, True),
        ({"category": "general_harms"}, 0, True),
        ({"category": "bio"}, 0, False),
        ({"category": "frontier_llm"}, 0, False),
        ({"category": "reasoning_extraction"}, 0, False),
        ({"category": "cyber"}, 5, False),
    ],
)
def test_refusals_before_any_output_are_unbilled_except_some(
    details: dict[str, Any] | None, output: int, unbilled: bool
) -> None:
    expected = Usage(prompt_tokens=10, completion_tokens=output, unbilled=unbilled)
    ending = end("refusal", {"output_tokens": output}, stop_details=details)
    assert put_together(streamed(start(), *ending)).usage == expected
    usage = START_USAGE | {"output_tokens": output}
    assert complete([], stop_reason="refusal", stop_details=details, usage=usage).usage == expected


def test_an_answer_after_a_refusal_is_billed() -> None:
    """Some proxies start a message a second time."""
    events = (start(), *end("refusal")[:1], start(), *text(0, "Hi"), *end())
    assert put_together(streamed(*events)).usage == Usage(prompt_tokens=10, completion_tokens=5)


LONG, SHORT = {"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral"}


def marked(*marks: dict[str, Any]) -> dict[str, Any]:
    parts = [{"type": "text", "text": "x", "cache_control": mark} for mark in marks]
    return {"messages": [{"role": "user", "content": parts}]}


def marked_call(mark: dict[str, Any]) -> dict[str, Any]:
    answer = calls("a")
    answer["tool_calls"][0]["cache_control"] = mark
    return answer


@pytest.mark.parametrize(
    ("request_body", "written_5m", "written_1h"),
    [
        (marked(LONG, LONG), 0, 90),
        ({"cache_control": LONG}, 0, 90),
        ({"tools": [WEATHER | {"cache_control": LONG}]}, 0, 90),
        ({"messages": [HELLO | {"cache_control": LONG}]}, 0, 90),
        ({"messages": [HELLO, marked_call(LONG), result("a")]}, 0, 90),
        ({"messages": [HELLO | {"cache_control": LONG}, marked_call(SHORT), result("a")]}, 60, 30),
        (marked(LONG, SHORT), 60, 30),
        (marked(LONG) | {"cache_control": SHORT}, 60, 30),
        (marked(SHORT), 60, 30),
        ({}, 60, 30),
    ],
)
def test_what_a_search_adds_to_the_cache_lives_as_long_as_all_that_the_request_has_cached(
    request_body: dict[str, Any], written_5m: int, written_1h: int
) -> None:
    """message_delta has the grown total without its parts."""
    first = START_USAGE | {
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 30},
    }
    last = {"output_tokens": 5, "cache_creation_input_tokens": 90}
    events = (start(first), *text(0, "Hi"), *end(usage=last))
    usage = put_together(streamed(*events, bound=chat(web_search_options={}, **request_body))).usage
    assert usage == Usage(
        prompt_tokens=100, completion_tokens=5, cache_write_tokens=written_5m, cache_write_1h_tokens=written_1h
    )


def test_cache_writes_without_parts_are_of_five_minutes() -> None:
    """facts/providers.md 1.4"""
    events = (start(START_USAGE | {"cache_creation_input_tokens": 30}), *text(0, "Hi"), *end())
    usage = put_together(streamed(*events, bound=chat(cache_control=LONG))).usage
    assert usage is not None
    assert (usage.cache_write_tokens, usage.cache_write_1h_tokens) == (30, 0)


def test_usage_that_was_not_told_is_none_rather_than_zero() -> None:
    beginning = {"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "content": []}}
    ending = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    for last in (ending, ending | {"usage": {}}, ending | {"usage": None}):
        assert put_together(streamed(beginning, *text(0, "Hi"), last, {"type": "message_stop"})).usage is None
    assert complete([{"type": "text", "text": "Hi"}], usage=None).usage is None


def test_output_tokens_of_the_beginning_alone_are_no_count() -> None:
    """They are provisional, such as 1 (facts/providers.md 1.4, last paragraph)."""
    ending = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    for last in ([ending], [ending | {"usage": {"input_tokens": 10, "output_tokens": None}}], []):
        told = put_together(streamed(start(), *text(0, "Hi"), *last, {"type": "message_stop"})).usage
        assert told == Usage(prompt_tokens=10, completion_tokens=1, estimated=True)


@pytest.mark.parametrize(
    ("told", "prompt", "completion"),
    [
        ({"input_tokens": None, "output_tokens": None}, 0, 0),
        ({"input_tokens": "10", "output_tokens": "5"}, 0, 0),
        ({"input_tokens": 10.0, "output_tokens": 5.0}, 0, 0),
        ({"input_tokens": 10, "output_tokens": True}, 10, 0),
        ({"output_tokens": 5}, 0, 5),
        ({"input_tokens": 10, "output_tokens": -5}, None, None),
    ],
)
def test_what_is_no_count_is_left_to_be_estimated(
    told: dict[str, Any], prompt: int | None, completion: int | None
) -> None:
    """Any may be null or absent (facts/providers.md 3.11); what is not counted is not free."""
    usage = complete([{"type": "text", "text": "Hi"}], usage=told).usage
    if prompt is None or completion is None:
        assert usage is None
    else:
        assert usage == Usage(prompt_tokens=prompt, completion_tokens=completion, estimated=True)


@pytest.mark.parametrize("odd", [None, "5", 5.0, -5, 10**30])
def test_an_odd_count_at_the_end_leaves_that_of_the_beginning_provisional(odd: Any) -> None:
    usage = put_together(streamed(start(), *text(0, "Hi"), *end(usage={"output_tokens": odd}))).usage
    assert usage == Usage(prompt_tokens=10, completion_tokens=1, estimated=True)
