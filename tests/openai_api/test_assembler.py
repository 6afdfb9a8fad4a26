"""Assembling deltas: every key of a finished choice."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.openai_api.assembler import Assembler, merge_detail, reasoning_detail, tool_call
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
from gateway.openai_api.usage import Usage
from tests.openai_api.answers import answers, visible


def put_together(*deltas: Delta) -> Assembler:
    assembler = Assembler()
    assembler.extend(deltas)
    return assembler


def message(*deltas: Delta) -> dict[str, Any]:
    [choice] = put_together(*deltas).choices()
    found: dict[str, Any] = choice["message"]
    return found


CALL = ToolCallStart(index=0, id="call_1", name="weather")


def test_nothing_has_arrived() -> None:
    nothing = Assembler()
    assert (nothing.choices(), nothing.texts(), nothing.finish_reasons()) == ([], [], {})
    assert (nothing.usage, nothing.metadata, nothing.output_bytes, nothing.images) == (None, UpstreamMetadata(), 0, [])


def test_usage_and_served_alone_start_no_answer() -> None:
    assert put_together(UpstreamMetadata(model="m"), Usage(prompt_tokens=1)).choices() == []


def test_a_plain_answer() -> None:
    assert put_together(Text("Hel"), Text("lo"), Finish("stop")).choices() == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


def test_a_broken_off_answer_has_no_finish_reason() -> None:
    broken = put_together(Text("Hel"))
    assert broken.choices()[0]["finish_reason"] is None
    assert broken.finish_reasons() == {0: None}


def test_choices_are_in_the_order_of_their_index() -> None:
    both = put_together(Text("b", 1), Text("a", 0), Finish("length", 1), Finish("stop", 0))
    assert [(choice["index"], choice["message"]["content"]) for choice in both.choices()] == [(0, "a"), (1, "b")]
    assert list(both.finish_reasons().items()) == [(0, "stop"), (1, "length")]
    assert [(choice["index"], choice["text"]) for choice in both.texts()] == [(0, "a"), (1, "b")]


@pytest.mark.parametrize(
    ("deltas", "content"),
    [
        ([Finish("stop")], ""),
        ([Text("x"), CALL], "x"),
        ([CALL], None),
        ([Text(""), CALL], None),
        ([Refusal("no")], None),
        ([Text("x"), Refusal("no")], "x"),
        ([Image("https://a/b.png")], ""),
        ([Reasoning(text="hm")], ""),
    ],
)
def test_content_is_null_only_beside_calls_or_a_refusal(deltas: list[Delta], content: str | None) -> None:
    assert message(*deltas)["content"] == content


def test_tool_calls() -> None:
    second = ToolCallStart(index=1, id="call_2", name="f", extra_content={"google": {"thought_signature": "s"}})
    calls = message(
        second,
        ToolCallArguments(1, '{"a"'),
        CALL,
        ToolCallArguments(0, "{}"),
        ToolCallArguments(1, ":1}"),
    )["tool_calls"]
    assert calls == [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
        {
            "id": "call_2",
            "type": "function",
            "function": {"name": "f", "arguments": '{"a":1}'},
            "extra_content": {"google": {"thought_signature": "s"}},
        },
    ]


def test_a_call_without_arguments_keeps_an_empty_string() -> None:
    assert message(CALL)["tool_calls"][0]["function"]["arguments"] == ""


def test_a_custom_tool_has_input() -> None:
    start = ToolCallStart(index=0, id="call_1", name="shell", type="custom")
    assert tool_call(start, "ls") == {"id": "call_1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}


def test_refusal_reasoning_pictures_and_further_keys() -> None:
    found = message(
        Refusal("I "),
        Refusal("won't"),
        Reasoning(text="h"),
        Reasoning(text="m"),
        Image("data:image/png;base64,AA=="),
        Image("https://a/b.png"),
        MessageField("annotations", [1]),
        MessageField("annotations", [2]),
        MessageField("audio", {"id": "a"}),
        MessageField("audio", {"id": "b"}),
    )
    assert found == {
        "role": "assistant",
        "content": None,
        "refusal": "I won't",
        "reasoning_content": "hm",
        "images": ["data:image/png;base64,AA==", "https://a/b.png"],
        "annotations": [1, 2],
        "audio": {"id": "b"},
    }


def test_a_list_replaces_what_was_no_list() -> None:
    assert message(MessageField("x", "a"), MessageField("x", [1]), MessageField("x", "b"))["x"] == "b"
    assert message(MessageField("x", "a"), MessageField("x", [1]))["x"] == [1]


def test_pictures_of_all_choices() -> None:
    assembler = put_together(Image("b", 1), Image("a", 0), Image("c", 1))
    assert assembler.images == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("delta", "detail"),
    [
        (Reasoning(text="t", format="f"), {"type": "reasoning.text", "text": "t", "format": "f", "index": 0}),
        (
            Reasoning(signature="s", format="f", index=2),
            {"type": "reasoning.text", "signature": "s", "format": "f", "index": 2},
        ),
        (
            Reasoning(data="d", id="call_1", format="f", text="unused"),
            {"type": "reasoning.encrypted", "data": "d", "id": "call_1", "format": "f", "index": 0},
        ),
        (Reasoning(data="", format="f"), {"type": "reasoning.encrypted", "data": "", "format": "f", "index": 0}),
    ],
)
def test_reasoning_detail(delta: Reasoning, detail: dict[str, Any]) -> None:
    assert reasoning_detail(delta) == detail


def test_pieces_of_one_block_become_one_detail() -> None:
    details = message(
        Reasoning(text="a", format="f"),
        Reasoning(text="b", format="f"),
        Reasoning(signature="s", format="f"),
        Reasoning(text="c", format="f", index=1),
        Reasoning(data="d", format="f", index=1),
        Reasoning(data="e", format="f", index=1),
        Reasoning(text="g", format="f", index=1),
    )["reasoning_details"]
    assert details == [
        {"type": "reasoning.text", "text": "ab", "format": "f", "index": 0, "signature": "s"},
        {"type": "reasoning.text", "text": "c", "format": "f", "index": 1},
        {"type": "reasoning.encrypted", "data": "d", "format": "f", "index": 1},
        {"type": "reasoning.encrypted", "data": "e", "format": "f", "index": 1},
        {"type": "reasoning.text", "text": "g", "format": "f", "index": 1},
    ]


def test_a_signature_alone_brings_no_text() -> None:
    details: list[dict[str, Any]] = []
    merge_detail(details, {"type": "reasoning.text", "signature": "s", "index": 0})
    merge_detail(details, {"type": "reasoning.text", "signature": "t", "index": 0})
    assert details == [{"type": "reasoning.text", "signature": "t", "index": 0}]


def test_thoughts_without_a_format_have_no_details() -> None:
    assert "reasoning_details" not in message(Reasoning(text="hm"))


def test_logprobs_of_all_pieces() -> None:
    pieces = [
        Text("a", 0, {"content": [1], "refusal": None}),
        Text("b"),
        Text("c", 0, {"content": [2, 3]}),
    ]
    [choice] = put_together(*pieces).choices()
    assert choice["logprobs"] == {"content": [1, 2, 3], "refusal": None}
    assert choice["message"]["content"] == "abc"
    [refused] = put_together(Text("", 0, {"refusal": [4]})).choices()
    assert refused["logprobs"] == {"content": None, "refusal": [4]}


def test_the_last_usage_counts() -> None:
    assembler = put_together(Usage(prompt_tokens=1), Text("x"), Usage(prompt_tokens=2))
    assert assembler.usage == Usage(prompt_tokens=2)


@pytest.mark.parametrize(
    "bad",
    [Usage(prompt_tokens=-1), Usage(completion_tokens=-9), Usage(web_searches=-1), Usage(completion_tokens=10**90)],
)
def test_a_usage_that_makes_no_sense_is_none(bad: Usage) -> None:
    """An inconsistent usage is not billed. The last consistent one may precede the output: it is no final count."""
    assert put_together(bad).usage is None
    assert put_together(Usage(prompt_tokens=2), bad).usage == Usage(prompt_tokens=2, estimated=True)
    assert put_together(bad, Usage(prompt_tokens=3)).usage == Usage(prompt_tokens=3)


def test_an_empty_word_of_the_upstream_says_nothing() -> None:
    assert (
        put_together(UpstreamMetadata(model="", service_tier="", system_fingerprint="", id="")).metadata
        == UpstreamMetadata()
    )


def test_what_the_upstream_said_stays_until_it_says_something_new() -> None:
    assembler = put_together(
        UpstreamMetadata(model="a", service_tier="flex", system_fingerprint="fp", id="1"),
        UpstreamMetadata(),
        UpstreamMetadata(model="b"),
    )
    assert assembler.metadata == UpstreamMetadata(model="b", service_tier="flex", system_fingerprint="fp", id="1")
    assembler.add(UpstreamMetadata(service_tier="default", system_fingerprint="fp2", id="2"))
    assembler.add(UpstreamMetadata(moderation={"input": 1}))
    assembler.add(UpstreamMetadata(model="b"))
    assert assembler.metadata == UpstreamMetadata(
        model="b", service_tier="default", system_fingerprint="fp2", id="2", moderation={"input": 1}
    )


@pytest.mark.parametrize(
    ("delta", "size"),
    [
        (Text("abc"), 3),
        (Text("h\u00e9"), 3),
        (Refusal("\u20ac"), 3),
        (Reasoning(text="abcd"), 4),
        (ToolCallArguments(0, "{}"), 2),
        (ToolCallStart(index=1, id="call_2", name="f", arguments="{}"), 2),
        (Image("data:image/png;base64,AA=="), 0),
        (Finish("stop"), 0),
        (Usage(completion_tokens=9), 0),
    ],
)
def test_bytes_produced(delta: Delta, size: int) -> None:
    assembler = put_together(CALL)
    assembler.add(delta)
    assembler.add(delta)
    assert assembler.output_bytes == 2 * size
    metered = Assembler()
    metered.meter(delta)
    metered.meter(delta)
    assert metered.output_bytes == 2 * size


def test_the_meter_keeps_no_content() -> None:
    assembler = put_together(Text("a"))
    for delta in (Text("b"), Refusal("c"), Reasoning(text="d"), ToolCallArguments(0, "e"), Image("f"), Finish("stop")):
        assembler.meter(delta)
    assembler.meter(UpstreamMetadata(model="m"))
    assembler.meter(Usage(prompt_tokens=4))
    [choice] = assembler.choices()
    assert choice["message"] == {"role": "assistant", "content": "a", "refusal": None}
    assert choice["finish_reason"] is None
    assert (assembler.metadata.model, assembler.usage) == ("m", Usage(prompt_tokens=4))


def test_legacy_choices() -> None:
    assert put_together(Text("a"), Text("b"), Reasoning(text="hm"), Finish("length")).texts() == [
        {"text": "ab", "index": 0, "logprobs": None, "finish_reason": "length"}
    ]


@settings(max_examples=40)
@given(answers())
def test_text_is_what_the_text_deltas_say(deltas: list[Delta]) -> None:
    for choice in put_together(*deltas).choices():
        assert (choice["message"]["content"] or "") == visible(deltas, choice["index"])


@settings(max_examples=40)
@given(answers(), st.data())
def test_pieces_may_come_in_any_batches(deltas: list[Delta], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(deltas)))
    assembler = Assembler()
    assembler.extend(deltas[:cut])
    assembler.choices()
    assembler.extend(deltas[cut:])
    assert assembler.choices() == put_together(*deltas).choices()
