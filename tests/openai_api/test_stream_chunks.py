"""Stream chunks byte for byte (facts/providers.md 1.2, design 4.3), and decoded again by the verifier's reader."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from openai.lib.streaming._deltas import accumulate_delta
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from gateway.envelope import signed_output
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import (
    Delta,
    Finish,
    Image,
    MessageField,
    Reasoning,
    Refusal,
    Text,
    ToolCallArguments,
    ToolCallStart,
    UpstreamMetadata,
)
from gateway.openai_api.errors import upstream_error
from gateway.openai_api.stream import DONE, KEEP_ALIVE, ChatChunkEncoder, ChunkEncoder, TextChunkEncoder, error_event
from gateway.openai_api.usage import Usage
from tests.conformance.folding import folded
from tests.event_streams import events
from tests.openai_api.answers import answers
from tools.verify.stream import reassemble

HEAD = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4.1"'
ROLE = '"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null'


def chat() -> ChatChunkEncoder:
    return ChatChunkEncoder("chatcmpl-1", 1_700_000_000, "gpt-4.1")


def legacy() -> TextChunkEncoder:
    return TextChunkEncoder("cmpl-1", 1_700_000_000, "gpt-4.1")


def chunk(body: str) -> bytes:
    return f"data: {HEAD},{body}}}\n\n".encode()


def greeted(*choices: int) -> ChatChunkEncoder:
    """An encoder that has written the role chunks."""
    encoder = chat()
    for choice in choices or (0,):
        encoder.encode(Text("", choice))
    return encoder


def test_the_first_delta_brings_the_role() -> None:
    encoder = chat()
    assert encoder.encode(Text("Hi")) == chunk(f'"choices":[{{"index":0,{ROLE}}}]') + chunk(
        '"choices":[{"index":0,"delta":{"content":"Hi"},"logprobs":null,"finish_reason":null}]'
    )
    assert encoder.encode(Text('"\u20ac\n')) == chunk(
        '"choices":[{"index":0,"delta":{"content":"\\"\u20ac\\n"},"logprobs":null,"finish_reason":null}]'
    )


def test_every_choice_is_greeted_once() -> None:
    encoder = chat()
    stream = b"".join(encoder.encode(Text("x", choice)) for choice in (1, 0, 1, 0))
    roles = [(e["choices"][0]["index"], e["choices"][0]["delta"].get("role")) for e in events(stream)]
    assert roles == [(0, "assistant"), (1, "assistant"), (1, None), (0, None), (1, None), (0, None)]


def test_openai_s_helper_finds_a_choice_that_speaks_before_earlier_ones() -> None:
    state = ChatCompletionStreamState()
    encoder = chat()
    stream = b"".join(encoder.encode(Text(text, choice)) for text, choice in (("c", 2), ("a", 0), ("C", 2), ("b", 1)))
    for event in events(stream + encoder.last({0: "stop", 1: "stop", 2: "length"}, {}, separate_usage=False)):
        state.handle_chunk(ChatCompletionChunk.model_validate(event))
    choices = state.current_completion_snapshot.choices
    assert [(choice.message.content, choice.finish_reason) for choice in choices] == [
        ("a", "stop"),
        ("b", "stop"),
        ("cC", "length"),
    ]


def test_no_more_roles_are_sent_than_choices_can_be_requested() -> None:
    stream = chat().encode(Text("x", 10**9))
    assert [event["choices"][0]["index"] for event in events(stream)] == [*range(128), 10**9, 10**9]


def test_logprobs_travel_with_their_text() -> None:
    assert greeted().encode(Text("Hi", 0, {"content": [{"token": "Hi"}], "refusal": None})) == chunk(
        '"choices":[{"index":0,"delta":{"content":"Hi"},"logprobs":{"content":[{"token":"Hi"}],"refusal":null},'
        '"finish_reason":null}]'
    )


@pytest.mark.parametrize(
    ("delta", "shape"),
    [
        (Text("x", 2), {"content": "x"}),
        (Refusal("no"), {"refusal": "no"}),
        (Reasoning(text="hm"), {"reasoning_content": "hm"}),
        (
            Reasoning(text="hm", format="f", index=1),
            {
                "reasoning_content": "hm",
                "reasoning_details": [{"type": "reasoning.text", "text": "hm", "format": "f", "index": 1}],
            },
        ),
        (
            Reasoning(signature="s", format="f"),
            {"reasoning_details": [{"type": "reasoning.text", "signature": "s", "format": "f", "index": 0}]},
        ),
        (
            ToolCallStart(index=1, id="call_1", name="f"),
            {
                "tool_calls": [
                    {"index": 1, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
                ]
            },
        ),
        (
            ToolCallStart(index=0, id="call_1", name="f", extra_content={"google": {}}),
            {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "f", "arguments": ""},
                        "extra_content": {"google": {}},
                    }
                ]
            },
        ),
        (
            ToolCallStart(index=0, id="call_1", name="sh", type="custom"),
            {"tool_calls": [{"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "sh", "input": ""}}]},
        ),
        (
            ToolCallStart(index=0, id="call_1", name="sh", type="custom", arguments="ls"),
            {"tool_calls": [{"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "sh", "input": "ls"}}]},
        ),
        (ToolCallArguments(1, '{"a":'), {"tool_calls": [{"index": 1, "function": {"arguments": '{"a":'}}]}),
        (ToolCallArguments(0, "ls", 0, "custom"), {"tool_calls": [{"index": 0, "custom": {"input": "ls"}}]}),
        (Image("https://a/b.png"), {"images": ["https://a/b.png"]}),
        (MessageField("encrypted_content", "x"), {"encrypted_content": "x"}),
    ],
)
def test_shape_of_each_delta(delta: Delta, shape: dict[str, Any]) -> None:
    encoder = greeted(0, 2)
    [event] = events(encoder.encode(delta))
    [choice] = event.pop("choices")
    assert event == json.loads(HEAD + "}")
    assert choice == {
        "index": getattr(delta, "choice", 0),
        "delta": shape,
        "logprobs": None,
        "finish_reason": None,
    }


@pytest.mark.parametrize("delta", [Usage(prompt_tokens=1), UpstreamMetadata(model="m"), Finish("stop")])
def test_what_waits_for_the_end_is_not_shown(delta: Delta) -> None:
    assert chat().encode(delta) == b""
    assert legacy().encode(delta) == b""


def test_the_last_event_carries_everything() -> None:
    last = greeted().last({0: "stop"}, {"usage": {"total_tokens": 3}, "tee_id": "0x1"}, separate_usage=False)
    assert last == (
        chunk(
            '"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],'
            '"usage":{"total_tokens":3},"tee_id":"0x1"'
        )
        + b"data: [DONE]\n\n"
    )


def test_a_service_tier_is_in_every_chunk_and_once_in_the_last_event() -> None:
    encoder = ChatChunkEncoder("chatcmpl-1", 1_700_000_000, "gpt-4.1", "flex")
    stream = encoder.encode(Text("a")) + encoder.encode(Text("b"))
    assert [event["service_tier"] for event in events(stream)] == ["flex"] * 3
    last = encoder.last({0: "stop"}, {"service_tier": "default"}, separate_usage=False)
    assert last.count(b'"service_tier"') == 1
    assert events(last)[-1]["service_tier"] == "default"


def test_a_tier_that_is_named_late_loses_nothing() -> None:
    encoder = chat()
    assert encoder.encode(MessageField("annotations", [1])) == b""
    encoder.describe("gpt-5", "flex")
    stream = encoder.encode(Text("a")) + encoder.encode(Text("b"))
    assert [(event["model"], event["service_tier"]) for event in events(stream)] == [("gpt-5", "flex")] * 3
    cited, end = events(encoder.last({0: "stop"}, {}, separate_usage=False))
    assert cited["choices"][0]["delta"] == {"annotations": [1]}
    assert end["model"] == "gpt-5"


def test_a_list_comes_whole_before_the_end() -> None:
    """``openai``'s stream helper refuses to append to a list whose items have no index."""
    encoder = greeted(0, 1)
    cited = [MessageField("annotations", [n], n // 2) for n in range(4)]
    assert b"".join(encoder.encode(delta) for delta in cited) == b""
    first, second, *ends = events(encoder.last({0: "stop", 1: "stop"}, {}, separate_usage=False))
    assert first["choices"][0]["delta"] == {"annotations": [0, 1]}
    assert (second["choices"][0]["index"], second["choices"][0]["delta"]) == (1, {"annotations": [2, 3]})
    assert [end["choices"][0]["finish_reason"] for end in ends] == ["stop", "stop"]


def test_a_client_that_asked_for_usage_gets_openais_usage_chunk() -> None:
    last = greeted().last({0: "length"}, {"usage": {}, "tee_id": "0x1"}, separate_usage=True)
    assert last == (
        chunk('"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]')
        + chunk('"choices":[],"usage":{},"tee_id":"0x1"')
        + b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize("make", [lambda: greeted(0, 1, 2), legacy], ids=["chat", "legacy"])
@pytest.mark.parametrize("separate_usage", [False, True])
def test_each_choice_ends_in_a_chunk_of_its_own(make: Callable[[], ChunkEncoder], separate_usage: bool) -> None:
    """OpenAI's clients read only the first choice of a chunk."""
    encoder = make()
    finish = {0: "stop", 1: None, 2: "length"}
    *before, last = events(encoder.last(finish, {"tee_id": "0x1"}, separate_usage=separate_usage))
    ends = before if separate_usage else [*before, last]
    assert [[(each["index"], each["finish_reason"]) for each in end["choices"]] for end in ends] == [
        [(0, "stop")],
        [(1, None)],
        [(2, "length")],
    ]
    assert all(end.keys() == {"id", "object", "created", "model", "choices"} for end in before)
    assert last["tee_id"] == "0x1"


def test_an_answer_without_choices_has_a_last_chunk() -> None:
    [last] = events(greeted().last({}, {"tee_id": "0x1"}, separate_usage=False))
    assert (last["choices"], last["tee_id"]) == ([], "0x1")


def test_an_empty_answer_still_has_its_role() -> None:
    stream = chat().last({0: "stop"}, {}, separate_usage=False)
    assert stream.startswith(chunk(f'"choices":[{{"index":0,{ROLE}}}]'))
    assert len(events(stream)) == 2


def test_usage_is_never_null() -> None:
    encoder = chat()
    stream = encoder.encode(Text("x")) + encoder.last({0: "stop"}, {"usage": {}}, separate_usage=True)
    assert all(event.get("usage", {}) is not None for event in events(stream))
    assert b'"usage":null' not in stream


def test_legacy_chunks() -> None:
    encoder = legacy()
    head = '{"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"gpt-4.1"'
    assert encoder.encode(Text("x", 1)) == (
        f'data: {head},"choices":[{{"text":"x","index":1,"logprobs":null,"finish_reason":null}}]}}\n\n'.encode()
    )
    ending = '"choices":[{"text":"","index":1,"logprobs":null,"finish_reason":"stop"}]'
    last = encoder.last({1: "stop"}, {"completion": "x"}, separate_usage=False)
    assert last == f'data: {head},{ending},"completion":"x"}}\n\n'.encode() + DONE


@pytest.mark.parametrize("delta", [Reasoning(text="x"), Image("x"), Refusal("x"), ToolCallArguments(0, "x")])
def test_the_legacy_endpoint_shows_text_only(delta: Delta) -> None:
    assert legacy().encode(delta) == b""


def test_fixed_frames() -> None:
    assert (DONE, KEEP_ALIVE) == (b"data: [DONE]\n\n", b": keep-alive\n\n")
    assert error_event(upstream_error("upstream_truncated", "cut").envelope()) == (
        b'data: {"error":{"message":"cut","type":"upstream_error","param":null,"code":"upstream_truncated"}}\n\n'
    )


@given(answers())
def test_a_stream_says_what_the_whole_answer_says(deltas: list[Delta]) -> None:
    """The same deltas give the same signed output, streamed or not."""
    encoder, assembler = chat(), Assembler()
    assembler.extend(deltas)
    stream = b"".join(encoder.encode(delta) for delta in deltas)
    stream += encoder.last(assembler.finish_reasons(), {"tee_id": "0x1"}, separate_usage=False)
    assert signed_output(reassemble(stream)["choices"]) == signed_output(assembler.choices())
    for told, put in zip(folded(stream)["choices"], assembler.choices(), strict=True):
        assert told | {"logprobs": None} == put | {"logprobs": None}


@settings(max_examples=40)
@given(answers(max_choices=1))
def test_the_openai_packages_helper_puts_a_stream_together(deltas: list[Delta]) -> None:
    encoder, assembler = chat(), Assembler()
    assembler.extend(deltas)
    stream = b"".join(encoder.encode(delta) for delta in deltas)
    stream += encoder.last(assembler.finish_reasons(), {}, separate_usage=False)
    message: dict[Any, Any] = {}
    for event in events(stream):
        accumulate_delta(message, event["choices"][0]["delta"])
    [wanted] = [choice["message"] for choice in assembler.choices()]
    for name in ("refusal", "reasoning_content", "images", "annotations"):
        assert (message.get(name) or None) == wanted.get(name)
    assert (message["content"] or None) == (wanted["content"] or None)
    calls = [{key: call[key] for key in call if key != "index"} for call in message.get("tool_calls", [])]
    assert calls == wanted.get("tool_calls", [])


@settings(max_examples=40)
@given(answers())
def test_legacy_streams_say_what_the_whole_answer_says(deltas: list[Delta]) -> None:
    encoder, assembler = legacy(), Assembler()
    assembler.extend(deltas)
    stream = b"".join(encoder.encode(delta) for delta in deltas)
    stream += encoder.last(assembler.finish_reasons(), {}, separate_usage=True)
    assert [choice["text"] for choice in reassemble(stream)["choices"]] == [c["text"] for c in assembler.texts()]
