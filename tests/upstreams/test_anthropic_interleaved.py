"""Thinking between texts and calls, which Anthropic refuses anywhere but where it was.

The vendor's answer to all thinking at the start: "blocks in the latest assistant message cannot be modified".
"""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming._deltas import accumulate_delta

from gateway.openai_api.assembler import reasoning_detail
from gateway.openai_api.deltas import Reasoning
from gateway.upstreams.anthropic.adapter import AnthropicAdapter
from tests.upstreams.anthropic_chats import HELLO, WEATHER, adapter, as_stream, chat, sent
from tests.upstreams.decoding import put_together, read_stream

MODEL = "claude-opus-4-8"
BOUND: dict[str, Any] = {"reasoning_effort": "low", "tools": [WEATHER]}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
SEALED = {"type": "redacted_thinking", "data": "c2VhbGVk"}


def thought(number: int) -> dict[str, Any]:
    return {"type": "thinking", "thinking": f"Hm {number}.", "signature": f"sig-{number}"}


def call(number: int) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "weather", "input": {"city": str(number)}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def complete(through: AnthropicAdapter, *content: Any, **body: Any) -> dict[str, Any]:
    """The message that a client receives for an answer of these blocks."""
    answer = {
        "type": "message",
        "id": "msg_1",
        "model": MODEL,
        "content": content,
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    deltas = through.decode_response(chat(MODEL, **BOUND, **body), msgspec.json.encode(answer))
    message: dict[str, Any] = put_together(deltas).choices()[0]["message"]
    return message


def streamed(through: AnthropicAdapter, *content: Any) -> dict[str, Any]:
    """The same, of a stream, as put together by ``openai``'s stream helper."""
    message: dict[Any, Any] = {}
    decoder = through.decoder(chat(MODEL, stream=True, **BOUND))
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"id": "msg_1", "model": MODEL}}]
    for index, block in enumerate(content):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events.append({"type": "content_block_stop", "index": index})
    events += [{"type": "message_delta", "delta": {"stop_reason": "tool_use"}}, {"type": "message_stop"}]
    deltas = list(read_stream(decoder, as_stream(events)))
    for delta in deltas:
        if isinstance(delta, Reasoning):
            accumulate_delta(message, {"reasoning_details": [reasoning_detail(delta)]})
    assembled: dict[str, Any] = put_together(deltas).choices()[0]["message"]
    return assembled | message


def sent_back(through: AnthropicAdapter, message: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """The blocks of ``message`` in the request with the results of its calls, and whether thinking is on."""
    results = [{"role": "tool", "tool_call_id": made["id"], "content": "4 C"} for made in message["tool_calls"]]
    body = sent(bound := chat(MODEL, messages=[HELLO, message, *results], **BOUND), through)
    assert ("reasoning_effort" in through.build_request(bound).dropped) is ("thinking" not in body)
    return body["messages"][1]["content"], "thinking" in body


def standard_keys(message: dict[str, Any]) -> dict[str, Any]:
    return {key: message[key] for key in ("role", "content", "tool_calls")}


ORDERS = [
    [thought(1), call(1), thought(2), call(2)],
    [thought(1), text("Så, "), thought(2), text("then."), call(1)],
    [text("Well."), thought(1), call(1)],
    [thought(1), SEALED, text("A"), call(1), SEALED, thought(2), call(2), call(3)],
    [thought(1), thought(2), call(1), thought(3), text("B"), call(2)],
]


@pytest.mark.parametrize("content", ORDERS)
@pytest.mark.parametrize("answered", [complete, streamed])
def test_thoughts_stay_where_they_were(content: list[Any], answered: Any) -> None:
    through = adapter()
    message = answered(through, *content)
    assert sent_back(through, message) == (content, True)
    assert sent_back(through, standard_keys(message)) == (content, True)
    assert sent_back(adapter(), message) == (content, True)


STRETCHES = st.lists(st.tuples(st.integers(1, 2), st.booleans(), st.integers(0, 2)), min_size=1, max_size=4)


@given(stretches=STRETCHES, spoken=st.booleans())
def test_texts_and_the_calls_after_them_are_restored_between_thoughts(
    stretches: list[tuple[int, bool, int]], spoken: bool
) -> None:
    content = [text("First.")] if spoken else []
    for number, (thoughts, speaks, calls) in enumerate(stretches):
        content += [thought(10 * number + index) for index in range(thoughts)]
        content += [text(f"Så {number}. ")] if speaks else []
        content += [call(10 * number + index) for index in range(calls)]
    content.append(call(99))
    for answered in (complete, streamed):
        assert sent_back(adapter(), answered(adapter(), *content)) == (content, True)


def test_signatures_in_fragments_name_the_place_once_each() -> None:
    message = complete(adapter(), thought(1), call(1), thought(2), call(2))
    last = message["reasoning_details"][-1]
    assert last["id"] == f"{MODEL}@0.1"
    message["reasoning_details"][-1] = last | {"id": last["id"] * 2}
    assert sent_back(adapter(), message) == ([thought(1), call(1), thought(2), call(2)], True)


@pytest.mark.parametrize("place", ["@0.1x", "@5", "@0.12345678901", "@0.1@0.1", f"@0.1{MODEL}@0.2"])
def test_a_broken_mark_is_another_models(place: str) -> None:
    message = complete(adapter(), thought(1), call(1), thought(2), call(2))
    message["reasoning_details"][-1]["id"] = MODEL + place
    assert sent_back(adapter(), message) == ([call(1), call(2)], False)


def test_thoughts_in_another_order_repeat_no_text_and_no_call() -> None:
    message = complete(adapter(), thought(1), text("A"), call(1), thought(2), text("B"), call(2), thought(3), call(3))
    message["reasoning_details"].reverse()
    content, _ = sent_back(adapter(), message)
    assert [block for block in content if block["type"] == "tool_use"] == [call(1), call(2), call(3)]
    assert "".join(block["text"] for block in content if block["type"] == "text") == "AB"


@pytest.mark.parametrize("gateway", ["same", "another"])
def test_thoughts_after_a_search_are_left_out(gateway: str) -> None:
    """The blocks of the search, which stood between, do not reach the client."""
    through = adapter()
    message = complete(through, thought(1), SEARCH, thought(2), call(1), web_search=True)
    assert sent_back(through if gateway == "same" else adapter(), message) == ([call(1)], False)


@pytest.mark.parametrize("gateway", ["same", "another"])
def test_a_thought_before_a_search_is_sent_back(gateway: str) -> None:
    through = adapter()
    message = complete(through, thought(1), SEARCH, text("So."), call(1), web_search=True)
    assert sent_back(through if gateway == "same" else adapter(), message) == (
        [thought(1), text("So."), call(1)],
        True,
    )


@pytest.mark.parametrize("gateway", ["same", "another"])
@pytest.mark.parametrize("change", [{"content": "Sh"}, {"content": None}, {"tool_calls": 1}])
def test_thoughts_between_what_the_client_has_cut_are_left_out(change: dict[str, Any], gateway: str) -> None:
    through = adapter()
    message = complete(through, thought(1), text("Short."), call(1), call(2), thought(2), call(3))
    if "tool_calls" in change:
        change = {"tool_calls": message["tool_calls"][:1]}
    blocks, thinking = sent_back(through if gateway == "same" else adapter(), message | change)
    assert not thinking
    assert all(block["type"] in ("text", "tool_use") for block in blocks)


def test_refusals_and_cache_breakpoints_are_sent_beside_thoughts_between_calls() -> None:
    message = complete(adapter(), thought(1), text("So."), call(1), thought(2), call(2))
    mark = {"cache_control": {"type": "ephemeral"}}
    marked = message | {"content": [text("So.") | mark], "refusal": "No."}
    expected = [thought(1), text("So."), call(1), thought(2), text("No."), call(2) | mark]
    assert sent_back(adapter(), marked) == (expected, True)
    assert sent_back(adapter(), message | {"refusal": "No."} | mark) == (expected, True)


def without_places(message: dict[str, Any]) -> dict[str, Any]:
    """As clients send it back that keep OpenRouter's entries without our ids."""
    details = [{key: value for key, value in one.items() if key != "id"} for one in message["reasoning_details"]]
    return message | {"reasoning_details": details}


def as_litellm(message: dict[str, Any]) -> dict[str, Any]:
    blocks = [
        {"type": "redacted_thinking", "data": detail["data"]}
        if "data" in detail
        else {"type": "thinking", "thinking": detail["text"], "signature": detail["signature"]}
        for detail in message["reasoning_details"]
    ]
    return standard_keys(message) | {"thinking_blocks": blocks}


@pytest.mark.parametrize("client", [without_places, as_litellm])
@pytest.mark.parametrize(
    "content",
    [
        [thought(1), call(1), thought(2), call(2)],
        [thought(1), text("So."), thought(2), call(1)],
        [thought(1), SEALED, call(1), call(2)],
    ],
)
def test_several_thoughts_without_places_are_left_out_where_they_may_be_between(
    content: list[Any], client: Any
) -> None:
    message = client(complete(adapter(), *content))
    assert sent_back(adapter(), message) == ([b for b in content if b["type"] in ("text", "tool_use")], False)


@pytest.mark.parametrize("client", [without_places, as_litellm])
@pytest.mark.parametrize(
    "content", [[thought(1), SEALED, call(1)], [thought(1), text("So."), call(1)], [thought(1), call(1), call(2)]]
)
def test_one_thought_or_one_call_leaves_no_doubt_about_the_place(content: list[Any], client: Any) -> None:
    assert sent_back(adapter(), client(complete(adapter(), *content))) == (content, True)


@pytest.mark.parametrize("client", [without_places, as_litellm])
def test_the_gateway_that_answered_knows_the_places_that_a_client_drops(client: Any) -> None:
    through = adapter()
    content = [thought(1), call(1), thought(2), call(2)]
    assert sent_back(through, client(complete(through, *content))) == (content, True)


def test_older_models_think_at_the_start_only() -> None:
    content = [thought(1), SEALED, text("So."), call(1), call(2)]
    message = as_litellm(complete(adapter(), *content))
    results = [{"role": "tool", "tool_call_id": made["id"], "content": "4 C"} for made in message["tool_calls"]]
    body = sent(chat("claude-haiku-4-5", messages=[HELLO, message, *results], **BOUND), adapter())
    assert (body["messages"][1]["content"], "thinking" in body) == (content, True)
