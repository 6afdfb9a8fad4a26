"""Streams that break off, restart, fail midway or are malformed (facts/providers.md 3.12)."""

from typing import Any

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from gateway.openai_api.assembler import Assembler
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.usage import Usage
from tests.upstreams.anthropic_chats import WEATHER, adapter, as_stream, chat
from tests.upstreams.anthropic_events import answer, block, end, start, streamed, text, tool
from tests.upstreams.decoding import put_together, read_stream


def test_a_stream_that_breaks_off_has_told_what_it_used() -> None:
    decoder = adapter().decoder(chat())
    assembled = Assembler()
    with pytest.raises(GatewayError) as caught:
        assembled.extend(read_stream(decoder, as_stream([start(), *text(0, "Hi")])))
    assert caught.value.code == "upstream_truncated"
    assert assembled.usage == Usage(prompt_tokens=10, completion_tokens=1)
    assert assembled.choices()[0]["message"]["content"] == "Hi"


def test_an_answer_that_begins_again_is_one_answer_with_the_newer_usage() -> None:
    cut = [event for event in tool(1, '{"value":"Spark', call_id="toolu_a") if event["type"] != "content_block_stop"]
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
    events = (
        start(),
        *block(0, thought),
        *cut,
        start({"input_tokens": 17, "output_tokens": 1}, "msg_2"),
        *block(0, thought | {"signature": "sig-2"}),
        *tool(1, '{"value":"Sparkle"}', call_id="toolu_b"),
    )
    assembled = put_together(streamed(*events, *end("tool_use", {"output_tokens": 65}), bound=chat(tools=[WEATHER])))
    message = assembled.choices()[0]["message"]
    assert [msgspec.json.decode(call["function"]["arguments"]) for call in message["tool_calls"]] == [
        {"value": "Spark"},
        {"value": "Sparkle"},
    ]
    assert [detail["index"] for detail in message["reasoning_details"]] == [0, 1]
    assert assembled.metadata.id == "msg_1"
    assert assembled.usage == Usage(prompt_tokens=17, completion_tokens=65)


@pytest.mark.parametrize("message_id", ["msg_1", "msg_2"])
@pytest.mark.parametrize("position", [0, 1, 2, 3, 5])
def test_blocks_go_on_after_a_second_beginning(position: int, message_id: str) -> None:
    events = [*text(0, "Hel", "lo"), *tool(1, '{"city":"Oslo"}')]
    events.insert(position, start(message_id=message_id))
    message = answer(start(), *events, *end("tool_use"), bound=chat(tools=[WEATHER]))["message"]
    assert message["content"] == "Hello"
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"city":"Oslo"}']


def test_events_may_lack_the_blank_line_between_them() -> None:
    body = as_stream([start(), *text(0, "Hel", "lo"), *end()])
    assembled = put_together(read_stream(adapter().decoder(chat()), body.replace(b"\n\n", b"\n")))
    assert assembled.choices()[0]["message"]["content"] == "Hello"


def test_what_says_nothing_of_the_message_may_stand_before_it() -> None:
    before: list[dict[str, Any]] = [
        {"type": "future_event", "usage": {"output_tokens": 99}},
        {"type": "content_block_stop", "index": 0},
    ]
    assembled = put_together(streamed(*before, start(), *text(0, "Hi"), *end()))
    assert assembled.choices()[0]["message"]["content"] == "Hi"
    assert assembled.usage == Usage(prompt_tokens=10, completion_tokens=5)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "upstream_truncated"),
        (b"data: {\n\n", "upstream_bad_response"),
        (b"data: []\n\n", "upstream_bad_response"),
        (b"data: {}\n\n", "upstream_bad_response"),
        (b"data: \xff\n\n", "upstream_bad_response"),
        (b'data: {"type":"message_start"}\n\n', "upstream_bad_response"),
        (b'data: {"type":"content_block_delta","index":0,"delta":{}}\n\n', "upstream_bad_response"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "upstream_overloaded"),
        (b"<html>\n</html>\n", "upstream_truncated"),
    ],
)
def test_garbage_in_a_stream(body: bytes, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        list(read_stream(adapter().decoder(chat()), body))
    assert (caught.value.code, caught.value.status) == (code, 503 if code == "upstream_overloaded" else 502)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"type":"message"}', b"\xff", b"[" * 100_000])
def test_garbage_for_an_answer(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        list(adapter().decode_response(chat(), body))
    assert (caught.value.code, caught.value.status) == ("upstream_bad_response", 502)


def test_text_that_is_no_unicode_loses_a_character_not_the_answer() -> None:
    broken = as_stream([start(), *text(0, "half"), *end()]).replace(b"half", rb"a\ud83d")
    choice = put_together(read_stream(adapter().decoder(chat()), broken)).choices()[0]
    assert choice["message"]["content"] == "a\ufffd"
    body = rb'{"type":"message","content":[{"type":"text","text":"a\ud83d"}],"stop_reason":"end_turn"}'
    assert put_together(adapter().decode_response(chat(), body)).choices()[0]["message"]["content"] == "a\ufffd"


def test_an_error_in_the_middle_of_a_stream() -> None:
    broken = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}
    assembled = Assembler()
    with pytest.raises(GatewayError) as caught:
        assembled.extend(read_stream(adapter().decoder(chat()), as_stream([start(), *text(0, "Hi"), broken])))
    assert (caught.value.status, caught.value.code) == (503, "upstream_overloaded")
    assert assembled.choices()[0]["finish_reason"] is None


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
REAL = [start(), *text(0, "Hi"), *tool(1, '{"a":', "1}"), *block(2, {"type": "redacted_thinking", "data": "x"}), *end()]


@given(st.data())
def test_events_with_anything_in_them_end_in_an_answer_or_our_error(data: st.DataObject) -> None:
    events: list[Any] = msgspec.json.decode(msgspec.json.encode(REAL))
    for _ in range(data.draw(st.integers(1, 3))):
        place: dict[str, Any] = data.draw(st.sampled_from(events))
        while isinstance(inner := place[key := data.draw(st.sampled_from(sorted(place)))], dict) and inner:
            if data.draw(st.booleans()):
                break
            place = inner
        place[key] = data.draw(ODD)
    body = b"".join(b"data: " + msgspec.json.encode(event) + b"\n\n" for event in events)
    assembled = Assembler()
    try:
        assembled.extend(read_stream(adapter().decoder(chat()), body))
    except GatewayError as error:
        event(f"status {error.status}")
    else:
        assert assembled.finish_reasons()[0] in ("stop", "length", "tool_calls", "content_filter")
    assert isinstance(assembled.usage, Usage | None)
    msgspec.json.encode([assembled.choices(), assembled.usage])


@pytest.mark.parametrize("tier", [["priority"], {"a": 1}, 7, None])
def test_a_service_tier_of_the_wrong_type_is_no_tier(tier: object) -> None:
    usage = put_together(streamed(start({"input_tokens": 3, "service_tier": tier}), *text(0, "x"), *end())).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.tier) == (3, "")
