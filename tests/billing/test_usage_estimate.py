"""Estimates of usage that no upstream reported."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.billing.usage_estimate import estimate, hidden_reasoning, prompt_tokens
from gateway.openai_api.usage import Usage

HELLO: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("é" * 4, 2), ("漢字", 2), ("\ud800", 1)]
)
def test_four_bytes_are_a_token(text: str, tokens: int) -> None:
    assert prompt_tokens({"prompt": text}) == tokens


@pytest.mark.parametrize(("produced", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (4000, 1000)])
def test_four_bytes_of_answer_are_a_token(produced: int, tokens: int) -> None:
    assert estimate(HELLO, produced).completion_tokens == tokens


def test_a_prompt_is_its_text_and_its_structure() -> None:
    # role user content Hello: 20 bytes
    assert prompt_tokens(HELLO) == 5
    assert prompt_tokens({"prompt": ["x" * 40, "y" * 40]}) == 20
    assert prompt_tokens({"temperature": 1}) == 0


def test_tools_are_part_of_the_prompt() -> None:
    tool = {"type": "function", "function": {"name": "weather", "description": "x" * 400}}
    assert prompt_tokens(HELLO | {"tools": [tool]}) > prompt_tokens(HELLO) + 100


@pytest.mark.parametrize("name", ["file", "images", "image_url", "notes"])
@pytest.mark.parametrize("kind", ["tools", "functions", "response_format"])
def test_a_tool_s_own_file_is_no_medium(kind: str, name: str) -> None:
    """However long its description is, it would be quoted as one picture."""
    described = {"type": "object", "properties": {name: {"type": "string", "description": "x" * 40_000}}}
    assert 10_000 < prompt_tokens({kind: [{"name": "f", "parameters": described}]}) < 10_050


def test_what_answers_carry_for_the_vendor_that_gave_them_is_no_prompt_of_another() -> None:
    """A client that stopped an answer of OpenAI's paid for the signatures of pictures of Google's, quoted or not."""
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    plain = {"role": "assistant", "content": "Sunny", "tool_calls": [call]}
    carried: dict[str, Any] = {
        "reasoning_content": "x" * 4000,
        "reasoning_details": [{"type": "reasoning.encrypted", "data": "x" * 4000}],
        "thinking_blocks": [{"type": "thinking", "thinking": "x" * 4000}],
        "images": ["data:image/png;base64,iVBORw0KGgo="],
        "tool_calls": [call | {"extra_content": {"google": {"thought_signature": "x" * 4000}}}],
    }
    result = {"role": "tool", "tool_call_id": "call_1", "content": "4 C"}
    wanted = HELLO | {"messages": [*HELLO["messages"], plain, result]}
    kept = HELLO | {"messages": [*HELLO["messages"], plain | carried, result]}
    assert estimate(kept, 40) == estimate(wanted, 40)
    assert estimate(wanted, 40).prompt_tokens == prompt_tokens(wanted)
    assert prompt_tokens(kept) > prompt_tokens(wanted) + 4000


def test_numbers_are_part_of_a_schema() -> None:
    assert prompt_tokens({"tools": [{"enum": [*range(100_000, 104_000), 0.25]}]}) == 6002


@pytest.mark.parametrize(
    "medium",
    [
        {"type": "file", "file": {"file_data": "data:text/plain;base64," + "QUFB" * 10_000}},
        {"type": "file", "file": {"url": "x", "file_data": "DATA: Text/csv;base64," + "QUFB" * 10_000}},
        {"type": "video_url", "video_url": {"url": "data:text/html;base64," + "QUFB" * 10_000}},
        {"role": "assistant", "images": ["data:text/plain;base64," + "QUFB" * 10_000]},
    ],
)
def test_a_text_file_is_its_text(medium: dict[str, Any]) -> None:
    assert 7_500 < prompt_tokens({"messages": [{"content": [medium]}]}) < 7_550


def test_hints_are_not_part_of_the_prompt() -> None:
    assert prompt_tokens(HELLO | {"metadata": {"long": "x" * 400}, "user": "y" * 400}) == prompt_tokens(HELLO)


def test_a_picture_counts_by_the_piece_not_by_the_byte() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}]}
    assert 1120 < prompt_tokens(body) < 1150


@pytest.mark.parametrize(
    ("kind", "medium", "tokens"),
    [
        ("file", {"file_data": "data:application/pdf;base64,AAAA", "filename": "word " * 4000}, 1500 + 5000),
        ("image_url", {"url": "https://example.com/a.png", "detail": "word " * 4000}, 1120 + 5000),
    ],
)
def test_the_name_of_a_file_is_text(kind: str, medium: dict[str, Any], tokens: int) -> None:
    """Claude reads it as the document's title: a prompt in its place would be quoted as one page."""
    assert tokens < prompt_tokens({"messages": [{"content": [{"type": kind, kind: medium}]}]}) < tokens + 20


def test_pictures_of_earlier_answers_count_each() -> None:
    body = {"messages": [{"role": "assistant", "content": "", "images": ["data:,A", "data:,B"]}]}
    assert 2240 < prompt_tokens(body) < 2260


def test_a_body_of_any_depth() -> None:
    deep: Any = "x" * 4
    for _ in range(100_000):
        deep = [deep]
    assert prompt_tokens({"messages": deep}) == 1


def test_nothing_seen() -> None:
    assert estimate(HELLO, 8) == Usage(prompt_tokens=5, completion_tokens=2, estimated=True)


def test_a_provisional_completion_count_is_raised() -> None:
    # Anthropic's message_start: the prompt is final, output_tokens is 1 or so.
    seen = Usage(prompt_tokens=1532, cached_tokens=1111, cache_write_tokens=418, completion_tokens=1, tier="standard")
    assert estimate(HELLO, 100, seen) == Usage(
        prompt_tokens=1532,
        cached_tokens=1111,
        cache_write_tokens=418,
        completion_tokens=25,
        tier="standard",
        estimated=True,
    )


def test_pictures_that_were_not_counted() -> None:
    drawn = estimate(HELLO, 8, None, images=2)
    assert drawn == Usage(prompt_tokens=5, completion_tokens=2242, image_tokens=2240, estimated=True)
    seen = Usage(prompt_tokens=9, completion_tokens=2600, image_tokens=2520)
    assert estimate(HELLO, 8, seen, images=1).image_tokens == 2520


def test_hidden_reasoning_that_was_counted_stays_counted() -> None:
    seen = Usage(prompt_tokens=9, completion_tokens=300, reasoning_tokens=290)
    assert estimate(HELLO, 100, seen) == Usage(
        prompt_tokens=9, completion_tokens=300, reasoning_tokens=290, estimated=True
    )


@pytest.mark.parametrize("unknown", [5, True, "text", ["text"], [None], [{"function": {"name": "x" * 4000}}]])
def test_calls_count_in_earlier_answers_only(unknown: Any) -> None:
    """In other messages the key is ignored, whatever its value is."""
    [message] = HELLO["messages"]
    assert estimate({**HELLO, "messages": [message | {"tool_calls": unknown}]}, 100) == estimate(HELLO, 100)


@pytest.mark.parametrize(
    ("silent", "visible", "produced", "tokens"),
    [
        (0.4, 5, 2000, 0),
        (2, 5, 2000, 0),
        (12, 5, 2000, 1000),
        (12, 5, 40, 300),
        (12, 5, 40_000, 1500),
        (12, 0.2, 4, 300),
    ],
    ids=["at once", "prompt", "measured", "too slow", "too fast", "not measured"],
)
def test_hidden_reasoning_by_the_speed_of_what_followed(
    silent: float, visible: float, produced: int, tokens: int
) -> None:
    assert hidden_reasoning(silent, visible, produced) == tokens


@pytest.mark.parametrize("provisional", [1, 26])
@pytest.mark.parametrize("produced", [0, 40, 100])
def test_hidden_reasoning_counts_where_the_vendor_has_not_counted(provisional: int, produced: int) -> None:
    """Anthropic's first count is no count of what was produced, however little that is."""
    start = Usage(prompt_tokens=9, completion_tokens=provisional)
    assert estimate(HELLO, produced, start, 0, 40) == Usage(
        prompt_tokens=9, completion_tokens=40 + produced // 4, reasoning_tokens=40, estimated=True
    )


@pytest.mark.parametrize(
    "counted",
    [
        Usage(prompt_tokens=9, completion_tokens=26, reasoning_tokens=1),
        Usage(prompt_tokens=9, completion_tokens=1060, reasoning_tokens=60),
        Usage(prompt_tokens=9, completion_tokens=1060),
    ],
)
def test_hidden_reasoning_does_not_count_where_the_vendor_has_counted(counted: Usage) -> None:
    """Also of text with more than four bytes per token, which is estimated at more than was counted."""
    assert estimate(HELLO, 4500, counted, 0, 3000).completion_tokens == 1125
    assert estimate(HELLO, 0, counted, 0, 3000).completion_tokens == counted.completion_tokens


counts = st.integers(0, 10**9)


@given(counts, st.builds(Usage, prompt_tokens=counts, completion_tokens=counts, images=counts, cached_tokens=counts))
def test_never_below_what_was_seen(produced: int, seen: Usage) -> None:
    usage = estimate(HELLO, produced, seen)
    assert usage.estimated
    for name in ("prompt_tokens", "completion_tokens", "images", "cached_tokens"):
        assert getattr(usage, name) >= getattr(seen, name)
    assert usage.completion_tokens >= produced / 4


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(one: str, other: str) -> None:
    parts = [prompt_tokens({"prompt": text}) for text in (one, other)]
    assert max(parts) <= prompt_tokens({"prompt": one + other}) <= sum(parts)
