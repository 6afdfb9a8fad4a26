"""How Claude's thinking blocks are returned and replayed (facts/providers.md 3.8, 4)."""

from typing import Any

import msgspec
import pytest
from openai.lib.streaming._deltas import accumulate_delta

from gateway.openai_api.assembler import reasoning_detail
from gateway.openai_api.deltas import Reasoning
from gateway.upstreams.anthropic.adapter import AnthropicAdapter
from gateway.upstreams.anthropic.blocks import block_decoder
from gateway.upstreams.anthropic.output import Output
from gateway.upstreams.signature_cache import SignatureCache
from tests.upstreams.anthropic_chats import HELLO, WEATHER, adapter, chat, sent
from tests.upstreams.decoding import put_together

THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "sig-1"}
SEALED = {"type": "redacted_thinking", "data": "c2VhbGVk"}
SILENT = {"type": "thinking", "thinking": "", "signature": "sig-2"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
SECOND = {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {"city": "Rome"}}
BOUND: dict[str, Any] = {"reasoning_effort": "low", "tools": [WEATHER]}


def answered(through: AnthropicAdapter, bound: Any, *content: Any) -> dict[str, Any]:
    """The message that a client receives for an answer of these blocks."""
    body = {
        "type": "message",
        "id": "msg_1",
        "model": bound.model.upstream_id,
        "content": content,
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    assembled = put_together(through.decode_response(bound, msgspec.json.encode(body)))
    message: dict[str, Any] = assembled.choices()[0]["message"]
    return message


def results(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "tool", "tool_call_id": call["id"], "content": "4 C"} for call in message["tool_calls"]]


def standard_keys(message: dict[str, Any]) -> dict[str, Any]:
    """The message as kept by a client that knows only OpenAI's keys."""
    return {key: message[key] for key in ("role", "content", "tool_calls")}


def replayed(through: AnthropicAdapter, message: dict[str, Any], model: str, caller: str = "") -> list[dict[str, Any]]:
    """The thinking blocks sent back with ``message``; asserts that thinking is on exactly if there are any."""
    bound = chat(model, caller=caller, messages=[HELLO, message, *results(message)], **BOUND)
    body = sent(bound, through)
    blocks = [block for block in body["messages"][1]["content"] if "thinking" in block["type"]]
    assert body["messages"][1]["content"][: len(blocks)] == blocks
    assert ("thinking" in body) is bool(blocks)
    assert ("reasoning_effort" in through.build_request(bound).dropped) is not bool(blocks)
    return blocks


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-opus-4-5", "claude-sonnet-4-6", "claude-opus-4-8"])
@pytest.mark.parametrize("thoughts", [[THOUGHT], [SEALED], [THOUGHT, SEALED, SILENT], [SILENT]])
@pytest.mark.parametrize("gateway", ["same", "another"])
def test_thoughts_come_back_as_they_were(model: str, thoughts: list[Any], gateway: str) -> None:
    through = adapter()
    message = answered(through, chat(model, **BOUND), *thoughts, CALL, SECOND)
    assert replayed(through if gateway == "same" else adapter(), message, model) == thoughts


@pytest.mark.parametrize("kept", [[0], [1], [0, 1]])
def test_a_client_that_drops_them_is_helped_out(kept: list[int]) -> None:
    through = adapter()
    message = answered(through, chat(**BOUND), THOUGHT, SEALED, CALL, SECOND)
    message["tool_calls"] = [message["tool_calls"][index] for index in kept]
    assert replayed(through, standard_keys(message), "claude-haiku-4-5") == [THOUGHT, SEALED]


@pytest.mark.parametrize(
    "thought", [THOUGHT | {"thinking": "x" * 1000}, SEALED | {"data": "x" * 1000}, SILENT | {"signature": "x" * 1000}]
)
def test_the_size_of_thoughts_that_only_the_cache_has_is_told(thought: dict[str, Any]) -> None:
    through = adapter()
    message = answered(through, chat(**BOUND), thought, CALL)

    def told(kept: dict[str, Any], **parameters: Any) -> int:
        bound = chat(messages=[HELLO, kept, *results(kept)], **BOUND | parameters)
        return through.build_request(bound).replayed_bytes

    assert told(message) == 0
    assert told(standard_keys(message)) >= 1000
    shorter = {"type": "reasoning.text", "text": "." * 500, "format": "anthropic-claude-v1"}
    assert 0 < told({**standard_keys(message), "reasoning_details": [shorter]}) <= told(standard_keys(message)) - 500
    foreign = {"type": "reasoning.encrypted", "data": "x" * 2000, "format": "google-gemini-v1"}
    assert told({**standard_keys(message), "reasoning_details": [foreign]}) == told(standard_keys(message))
    assert told(standard_keys(message), reasoning_effort="none") == 0


def test_thoughts_from_the_cache_are_sent_once_however_often_their_call_is_repeated() -> None:
    """A thousand repetitions in 170 KB made a request of 100 MB, before any payment."""
    through = adapter()
    message = standard_keys(answered(through, chat(**BOUND), THOUGHT, CALL))
    bound = chat(messages=[HELLO, *[message, *results(message)] * 20], **BOUND)
    turns = msgspec.json.decode(through.build_request(bound).body)["messages"]
    thinking = [turn["content"][0]["type"] for turn in turns if turn["role"] == "assistant"]
    assert thinking == ["tool_use"] * 19 + ["thinking"]


OTHER = {"type": "thinking", "thinking": "No.", "signature": "other"}
OTHER_DETAIL = {"type": "reasoning.text", "text": "No.", "signature": "other", "format": "anthropic-claude-v1"}


@pytest.mark.parametrize("carried", [{"reasoning_details": [OTHER_DETAIL]}, {"thinking_blocks": [OTHER]}])
def test_thoughts_from_the_cache_do_not_replace_those_of_another_answer(carried: dict[str, Any]) -> None:
    """A caller that makes up the ids of its calls may use those of another conversation."""
    through = adapter()
    message = answered(through, chat(**BOUND), THOUGHT, CALL)
    assert replayed(through, standard_keys(message) | carried, "claude-haiku-4-5") == [OTHER]


def test_thoughts_belong_to_the_caller_that_got_them() -> None:
    through = adapter()
    message = answered(through, chat(caller="a", **BOUND), THOUGHT, CALL)
    assert replayed(through, standard_keys(message), "claude-haiku-4-5", caller="b") == []
    assert replayed(through, standard_keys(message), "claude-haiku-4-5", caller="a") == [THOUGHT]


@pytest.mark.parametrize("thoughts", [[THOUGHT], [SEALED], [THOUGHT, SEALED, SILENT]])
@pytest.mark.parametrize("gateway", ["same", "another"])
def test_thoughts_of_another_model_stay_away(thoughts: list[Any], gateway: str) -> None:
    """Their signatures would be rejected; a gateway without them in its cache recognises them by their format mark."""
    through = adapter()
    message = answered(through, chat("claude-haiku-4-5", **BOUND), *thoughts, CALL)
    assert replayed(through if gateway == "same" else adapter(), message, "claude-sonnet-4-6") == []


@pytest.mark.parametrize(("model", "sent_back"), [("claude-haiku-4-5", [THOUGHT]), ("claude-sonnet-4-6", [])])
@pytest.mark.parametrize("fragments", [["sig-1"], ["sig", "-1"]])
def test_a_streams_thoughts_name_their_model_as_well(model: str, sent_back: list[Any], fragments: list[str]) -> None:
    output = Output([], None, chat("claude-haiku-4-5").model.upstream_id, searches=False)
    block = block_decoder(output, {"type": "thinking"})
    pieces = [{"type": "thinking_delta", "thinking": "H"}, {"type": "thinking_delta", "thinking": "m."}]
    pieces += [{"type": "signature_delta", "signature": fragment} for fragment in fragments]
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message: dict[Any, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
    for delta in (delta for piece in pieces for delta in block.feed(piece)):
        assert isinstance(delta, Reasoning)
        accumulate_delta(message, {"reasoning_details": [reasoning_detail(delta)]})
    assert replayed(adapter(), message, model) == sent_back


def test_a_mark_that_is_no_models_says_nothing() -> None:
    """OpenRouter's, for example."""
    message = answered(adapter(), chat(**BOUND), THOUGHT, CALL)
    message["reasoning_details"][0]["id"] = "rs_1"
    assert replayed(adapter(), message, "claude-haiku-4-5") == [THOUGHT]


@pytest.mark.parametrize("kept", ["CpE=", ["CpE="], {"signature": "CpE="}])
def test_what_another_vendor_keeps_in_the_cache_is_none_of_ours_nor_ours_theirs(kept: Any) -> None:
    cache = SignatureCache()
    cache.put("", "call_1", "weather", "{}", kept)
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    through = AnthropicAdapter(cache)
    assert replayed(through, message, "claude-haiku-4-5") == []
    call_id, arguments = "toolu_1", '{"city":"Oslo"}'
    assert answered(through, chat(**BOUND), THOUGHT, CALL)["tool_calls"][0]["id"] == call_id
    assert cache.get("", call_id, "weather", arguments) is None


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"reasoning_content": "Hm."},
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "google-gemini-v1"}
            ]
        },
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "signature": "s"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "format": "anthropic-claude-v1"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "Hm."}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": 5}]},
        {"thinking_blocks": [{"type": {"a": []}, "thinking": "Hm.", "signature": "Eq"}]},
        {"thinking_blocks": [{"type": ["thinking"]}]},
    ],
)
def test_without_thoughts_of_known_origin_thinking_stays_off(extra: dict[str, Any]) -> None:
    arguments = '{"city":"Oslo"}'
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], **extra}
    assert replayed(adapter(), message, "claude-haiku-4-5") == []


@pytest.mark.parametrize("content", [None, "", " \n", [{"type": "text", "text": " "}]])
def test_an_answer_that_said_nothing_leaves_the_calls_before_it_open(content: Any) -> None:
    """It is not sent, so Anthropic sees the results and what follows as one user turn."""
    message = answered(adapter(), chat(**BOUND), THOUGHT, CALL)
    after = [{"role": "assistant", "content": content}, {"role": "user", "content": "Go on"}]
    for kept, thoughts in ((message, [THOUGHT]), (standard_keys(message), [])):
        body = sent(chat(messages=[HELLO, kept, *results(kept), *after], **BOUND))
        assert [block for block in body["messages"][1]["content"] if block["type"] == "thinking"] == thoughts
        assert ("thinking" in body) is bool(thoughts)


def test_fable_goes_on_without_them() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = sent(chat("claude-fable-5", messages=[HELLO, message, *results(message)], **BOUND))
    assert (body["thinking"], body["output_config"]) == (
        {"type": "adaptive", "display": "summarized"},
        {"effort": "low"},
    )
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]


def test_litellms_blocks_are_taken_too() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    blocks = [THOUGHT | {"cache_control": None}, SEALED]
    message = {"role": "assistant", "content": None, "tool_calls": [call], "thinking_blocks": blocks}
    assert replayed(adapter(), message, "claude-haiku-4-5") == [THOUGHT, SEALED]


def test_the_pieces_of_a_stream_kept_one_by_one_are_joined() -> None:
    piece = {"type": "reasoning.text", "format": "anthropic-claude-v1"}
    details = [
        piece | {"index": 0, "text": "H"},
        piece | {"index": 0, "text": "m."},
        piece | {"index": 0, "signature": "sig-1"},
        {"type": "reasoning.encrypted", "data": "c2VhbGVk", "format": "anthropic-claude-v1", "index": 1},
        piece | {"index": 2, "signature": "sig-2"},
    ]
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_details": details}
    assert replayed(adapter(), message, "claude-haiku-4-5") == [THOUGHT, SEALED, SILENT]


def test_thoughts_that_openais_stream_helper_put_together_come_back() -> None:
    """It concatenates the ``format`` of all fragments."""
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    piece = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    message: dict[Any, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
    for detail in (piece | {"text": "H"}, piece | {"text": "m."}, piece | {"signature": "sig-1"}):
        accumulate_delta(message, {"reasoning_details": [detail]})
    assert len(message["reasoning_details"]) == 1
    assert replayed(adapter(), message, "claude-haiku-4-5") == [THOUGHT]


def test_the_last_piece_of_a_thought_is_none() -> None:
    """The npm package's stream helper keeps nothing else; Anthropic rejects a thinking block without its text."""
    piece = {"type": "reasoning.text", "signature": "sig-1", "format": "anthropic-claude-v1", "index": 0}
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": " m."}
    assert replayed(adapter(), message | {"reasoning_details": [piece]}, "claude-haiku-4-5") == []


def test_thoughts_come_first_also_after_another_message_of_the_same_turn() -> None:
    message = answered(adapter(), chat(**BOUND), THOUGHT, SEALED, CALL)
    said = {"role": "assistant", "content": "Let me see."}
    body = sent(chat(messages=[HELLO, said, message, *results(message)], **BOUND))
    assert body["messages"][1]["content"][:2] == [THOUGHT, SEALED]
    assert [block["type"] for block in body["messages"][1]["content"][2:]] == ["text", "tool_use"]


def test_a_later_call_that_was_made_without_a_new_thought_keeps_thinking_on() -> None:
    """Thinking is not interleaved before 4.6: the second call of a round comes without any."""
    through = adapter()
    first = standard_keys(answered(through, chat(**BOUND), THOUGHT, CALL))
    round_one = [HELLO, first, *results(first)]
    second = standard_keys(answered(through, chat(messages=round_one, **BOUND), SECOND))
    body = sent(chat(messages=[*round_one, second, *results(second)], **BOUND), through)
    assert "thinking" in body
    assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "tool_use"]
    assert [block["type"] for block in body["messages"][3]["content"]] == ["tool_use"]


def test_a_call_made_while_not_thinking_keeps_it_off() -> None:
    through = adapter()
    first = standard_keys(answered(through, chat(tools=[WEATHER]), CALL))
    assert replayed(through, first, "claude-haiku-4-5") == []


def test_thoughts_of_turns_that_are_over_are_left_out() -> None:
    through = adapter()
    first = answered(through, chat(**BOUND), THOUGHT, CALL)
    messages = [
        HELLO,
        first,
        *results(first),
        {"role": "assistant", "content": "4 C"},
        {"role": "user", "content": "Rome?"},
    ]
    body = sent(chat(messages=messages, **BOUND), through)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert all("thinking" not in block["type"] for turn in body["messages"] for block in turn["content"])


def test_without_thinking_no_thoughts_are_sent() -> None:
    through = adapter()
    first = answered(through, chat(**BOUND), THOUGHT, CALL)
    body = sent(chat(messages=[HELLO, first, *results(first)], tools=[WEATHER]), through)
    assert "thinking" not in body
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]
