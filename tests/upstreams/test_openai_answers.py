"""Answers of the OpenAI-shaped vendors: whole or in chunks, the same choices; usage in one convention (1.4)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.deltas import Delta, Finish, Served, Text, ToolCallArguments, ToolCallStart
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.usage import Usage
from tests.upstreams.openai_chats import adapter, chat, put_together, streamed

DONE = b"data: [DONE]\n\n"


def chunk(choices: list[dict[str, Any]], **fields: Any) -> bytes:
    return b"data: " + json.dumps({"choices": choices, **fields}).encode() + b"\n\n"


def piece(index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    return chunk([{"index": index, "delta": delta, "finish_reason": finish}])


def choices(stream: bytes, model: str = "gpt-4.1") -> list[dict[str, Any]]:
    return put_together(streamed(chat(model), stream)).choices()


def message(stream: bytes, model: str = "gpt-4.1") -> dict[str, Any]:
    [choice] = choices(stream, model)
    found: dict[str, Any] = choice["message"]
    return found


def whole(answer: Any, model: str = "gpt-4.1") -> list[Delta]:
    bound = chat(model)
    return list(adapter(bound).answer(bound, answer if isinstance(answer, bytes) else json.dumps(answer).encode()))


def failure(stream: bytes, model: str = "gpt-4.1") -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        streamed(chat(model), stream)
    return caught.value


END = piece(finish="stop") + DONE


def test_text_refusal_thought_and_further_keys() -> None:
    stream = (
        piece(role="assistant", content="", refusal=None)
        + piece(content="Hel")
        + piece(content="lo")
        + piece(refusal="no")
        + piece(reasoning_content="h")
        + piece(reasoning="m")
        + piece(annotations=[{"type": "url_citation"}])
        + END
    )
    assert message(stream) == {
        "role": "assistant",
        "content": "Hello",
        "refusal": "no",
        "reasoning_content": "hm",
        "annotations": [{"type": "url_citation"}],
    }


def test_a_whole_answer_is_read_like_a_stream() -> None:
    answer = {
        "model": "gpt-4.1-2025-04-14",
        "service_tier": "priority",
        "system_fingerprint": "fp",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"},
            {"index": 1, "message": {"content": "Hi"}, "logprobs": {"content": [1]}, "finish_reason": "length"},
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
    assembler = put_together(whole(answer))
    assert [(c["message"]["content"], c["finish_reason"]) for c in assembler.choices()] == [
        ("Hello", "stop"),
        ("Hi", "length"),
    ]
    assert assembler.choices()[1]["logprobs"] == {"content": [1], "refusal": None}
    assert assembler.usage == Usage(prompt_tokens=3, completion_tokens=2, tier="priority")
    assert assembler.served == Served(model="gpt-4.1-2025-04-14", service_tier="priority", system_fingerprint="fp")


@pytest.mark.parametrize(
    ("vendors", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("", "stop"),
    ],
)
def test_finish_reasons(vendors: str, ours: str) -> None:
    [choice] = choices(piece(content="x") + piece(finish=vendors) + DONE)
    assert choice["finish_reason"] == ours


@pytest.mark.parametrize("finish", ["", None])
def test_calls_without_a_reason_end_with_them(finish: str | None) -> None:
    """facts/providers.md 6.3"""
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    [choice] = choices(piece(tool_calls=[call], finish=finish) + DONE)
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("finish", ["", None])
@pytest.mark.parametrize(("name", "value", "ours"), [("content", "x", "stop"), ("tool_calls", [], "tool_calls")])
def test_a_whole_answer_is_complete_without_a_reason(finish: str | None, name: str, value: Any, ours: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = {"choices": [{"index": 0, "message": {name: value or [call]}, "finish_reason": finish}]}
    [choice] = put_together(whole(answer)).choices()
    assert choice["finish_reason"] == ours


def test_finish_reasons_wait_for_the_usage_behind_them() -> None:
    stream = piece(content="x", finish="stop") + chunk([], usage={"prompt_tokens": 1, "completion_tokens": 1}) + DONE
    deltas = streamed(chat(), stream)
    assert [type(delta) for delta in deltas] == [Served, Text, Usage, Finish]


def calls(*fragments: dict[str, Any], finish: bool = True) -> list[dict[str, Any]]:
    """The calls that fragments, one chunk each, add up to."""
    stream = b"".join(piece(tool_calls=[fragment]) for fragment in fragments) + piece(finish="tool_calls") + DONE
    found: list[dict[str, Any]] = message(stream)["tool_calls"]
    return found


def start(index: int | None, name: str, arguments: str = "", call: str | None = None) -> dict[str, Any]:
    body = {"id": call or f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return body if index is None else {"index": index, **body}


def more(index: int | None, arguments: str) -> dict[str, Any]:
    body = {"function": {"arguments": arguments}}
    return body if index is None else {"index": index, **body}


@pytest.mark.parametrize(
    "fragments",
    [
        [start(0, "a"), more(0, "[1"), more(0, "]"), start(1, "b", "[2]")],
        [start(0, "a"), start(1, "b"), more(0, "[1]"), more(1, "[2]")],
        [start(3, "a"), more(3, "[1]"), start(7, "b"), more(7, "[2]")],
        [start(0, "a", "[1]"), start(0, "b", "[2]")],
        [start(0, "a"), more(0, "[1]"), start(0, "b"), more(0, "[2]")],
        [start(None, "a", "[1]"), start(None, "b", "[2]")],
        [start(None, "a"), more(None, "[1]"), start(None, "b"), more(None, "["), more(None, "2]")],
        [start(0, "a", "[1"), start(0, "a", "]"), start(1, "b", "[2]")],
    ],
)
def test_indexes_are_ours_and_never_shared(fragments: list[dict[str, Any]]) -> None:
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls(*fragments)] == [
        ("call_a", "a", "[1]"),
        ("call_b", "b", "[2]"),
    ]


def test_calls_in_one_chunk() -> None:
    stream = piece(tool_calls=[start(0, "a", "[1]"), start(1, "b", "[2]")]) + piece(finish="tool_calls") + DONE
    assert [call["function"]["arguments"] for call in message(stream)["tool_calls"]] == ["[1]", "[2]"]


def test_a_call_without_an_id_gets_one() -> None:
    [call] = calls({"index": 0, "function": {"name": "f", "arguments": "{}"}})
    assert call["id"].startswith("call_")
    assert len(call["id"]) > 20


def test_an_id_given_twice_is_used_once() -> None:
    """Clients answer calls by id, and the gateway itself refuses two calls with one (facts/providers.md 6.3)."""
    first, second, third = calls(start(0, "a", "[1]"), start(1, "b", "[2", "call_a"), more(1, "]"), start(2, "c"))
    assert (first["id"], third["id"]) == ("call_a", "call_c")
    assert second["id"].startswith("call_")
    assert len({first["id"], second["id"], third["id"]}) == 3
    assert second["function"] == {"name": "b", "arguments": "[2]"}


@pytest.mark.parametrize("empty", ["", None])
def test_arguments_are_always_json(empty: str | None) -> None:
    [call] = calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": empty}})
    assert call["function"] == {"name": "f", "arguments": "{}"}


def test_custom_calls_keep_their_input() -> None:
    first = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "shell", "input": "l"}}
    empty = {"index": 1, "id": "b", "type": "custom", "custom": {"name": "shell"}}
    assert calls(first, {"index": 0, "custom": {"input": "s"}}, empty) == [
        {"id": "a", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
        {"id": "b", "type": "custom", "custom": {"name": "shell", "input": ""}},
    ]


@given(
    st.lists(st.lists(st.text("ab", min_size=1, max_size=3), max_size=3), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 5),
)
def test_start_before_arguments_and_one_index_each(arguments: list[list[str]], indexed: bool, first: int) -> None:
    fragments: list[dict[str, Any]] = []
    for number, parts in enumerate(arguments):
        index = first + 2 * number if indexed else None
        fragments += [start(index, f"f{number}"), *(more(index, part) for part in parts)]
    stream = b"".join(piece(tool_calls=[fragment]) for fragment in fragments) + piece(finish="tool_calls") + DONE
    started: list[int] = []
    told: dict[int, str] = {}
    for delta in streamed(chat(), stream):
        if isinstance(delta, ToolCallStart):
            started.append(delta.index)
        elif isinstance(delta, ToolCallArguments):
            assert delta.index in started
            told[delta.index] = told.get(delta.index, "") + delta.arguments
    assert started == list(range(len(arguments)))
    assert told == {number: "".join(parts) or "{}" for number, parts in enumerate(arguments)}


@pytest.mark.parametrize(
    ("model", "usage", "expected"),
    [
        (
            "gpt-5",
            {
                "prompt_tokens": 12,
                "completion_tokens": 1888,
                "total_tokens": 1900,
                "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1, "cache_write_tokens": 2},
                "completion_tokens_details": {
                    "reasoning_tokens": 1600,
                    "audio_tokens": 3,
                    "accepted_prediction_tokens": 5,
                    "rejected_prediction_tokens": 6,
                },
            },
            Usage(
                prompt_tokens=12,
                completion_tokens=1888,
                cached_tokens=4,
                audio_tokens=1,
                cache_write_tokens=2,
                reasoning_tokens=1600,
                completion_audio_tokens=3,
                accepted_prediction_tokens=5,
                rejected_prediction_tokens=6,
            ),
        ),
        (
            "grok-3-mini",
            {
                "prompt_tokens": 15,
                "completion_tokens": 10,
                "total_tokens": 238,
                "prompt_tokens_details": {"cached_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 213},
            },
            Usage(prompt_tokens=15, completion_tokens=223, cached_tokens=2, reasoning_tokens=213),
        ),
        (
            "grok-4.3",
            {
                "prompt_tokens": 349,
                "completion_tokens": 30,
                "total_tokens": 590,
                "prompt_tokens_details": {"cached_tokens": 128},
                "completion_tokens_details": {"reasoning_tokens": 211},
            },
            Usage(prompt_tokens=349, completion_tokens=241, cached_tokens=128, reasoning_tokens=211),
        ),
        (
            "grok-4.3",
            {
                "prompt_tokens": 10,
                "completion_tokens": 30,
                "total_tokens": 40,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(prompt_tokens=10, completion_tokens=30, reasoning_tokens=20),
        ),
        (
            "grok-4.3",
            {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 20}},
            Usage(prompt_tokens=10, completion_tokens=25, reasoning_tokens=20),
        ),
        (
            "seed-1.6",
            {"prompt_tokens": 10, "completion_tokens": 25, "completion_tokens_details": {"reasoning_tokens": 20}},
            Usage(prompt_tokens=10, completion_tokens=25, reasoning_tokens=20),
        ),
        (
            "seed-1.6",
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(prompt_tokens=10, completion_tokens=25, reasoning_tokens=20),
        ),
        (
            "hermes-4-70b",
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            Usage(prompt_tokens=10, completion_tokens=5),
        ),
        ("gpt-4.1", {"prompt_tokens": None, "prompt_tokens_details": None}, Usage()),
        ("gpt-4.1", {}, Usage()),
    ],
)
def test_usage(model: str, usage: dict[str, Any], expected: Usage) -> None:
    stream = piece(content="x", finish="stop") + chunk([], usage=usage) + DONE
    assert put_together(streamed(chat(model), stream)).usage == expected


@pytest.mark.parametrize(
    ("tier", "billed"),
    [("default", ""), ("auto", ""), ("standard", ""), ("flex", "flex"), ("priority", "priority"), (None, "")],
)
def test_the_tier_of_the_answer_is_billed(tier: str | None, billed: str) -> None:
    stream = piece(content="x", finish="stop") + chunk([], usage={"prompt_tokens": 1}, service_tier=tier) + DONE
    usage = put_together(streamed(chat(), stream)).usage
    assert usage is not None
    assert usage.tier == billed


def test_missing_usage_is_none() -> None:
    assert put_together(streamed(chat(), piece(content="x") + END)).usage is None


def test_what_the_vendor_says_of_itself_is_said_once() -> None:
    same = {"model": "m", "system_fingerprint": "fp"}
    ending = chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}], model="n")
    deltas = streamed(chat(), chunk([], **same) + chunk([], **same) + ending + DONE)
    assert [delta for delta in deltas if isinstance(delta, Served)] == [
        Served(model="m", system_fingerprint="fp"),
        Served(model="n"),
    ]


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        DONE,
        piece(content="x"),
        piece(content="x") + chunk([], usage={"prompt_tokens": 1}),
        piece(finish="stop") + piece(1, content="x"),
        piece(content="x", finish=""),
        chunk([]) + DONE,
    ],
)
def test_a_stream_that_ends_too_early_is_truncated(stream: bytes) -> None:
    error = failure(stream)
    assert (error.status, error.code) == (502, "upstream_truncated")


@pytest.mark.parametrize("stream", [piece(content="x", finish="stop"), piece(content="x") + DONE])
def test_one_of_both_end_marks_is_enough(stream: bytes) -> None:
    assert choices(stream)[0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "data",
    [
        b"data: {\n\n",
        b"data: nonsense\n\n",
        b"data: []\n\n",
        b"data: \xff\n\n",
        b"data: " + b"[" * 5000 + b"\n\n",
        b'data: {"choices": 7}\n\n',
        b'data: {"choices": [{"delta": {"content": 7}}]}\n\n',
        b'data: {"choices": [{"index": "a"}]}\n\n',
        b'data: {"choices": [{"index": -1, "delta": {}}]}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": 1}}]}\n\n',
        b'data: {"usage": {"prompt_tokens": "many"}}\n\n',
        b"[1, 2]",
    ],
)
def test_what_makes_no_sense_is_a_bad_answer(data: bytes) -> None:
    error = failure(piece(content="x") + data)
    assert (error.status, error.code) == (502, "upstream_bad_response")


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", b'"x"'])
def test_a_whole_answer_that_makes_no_sense(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        whole(body)
    assert caught.value.code == "upstream_bad_response"


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}])
def test_a_whole_answer_without_choices(body: dict[str, Any]) -> None:
    with pytest.raises(GatewayError) as caught:
        whole(body)
    assert caught.value.code == "upstream_truncated"


@pytest.mark.parametrize(
    ("model", "data", "status", "code"),
    [
        ("gpt-4.1", {"error": {"type": "server_error", "message": "x"}}, 502, "upstream_error"),
        ("gpt-4.1", {"error": {"code": "rate_limit_exceeded", "message": "x"}}, 429, "rate_limit_exceeded"),
        ("gpt-4.1", {"error": {"message": "x"}}, 502, "upstream_bad_response"),
        ("grok-4.3", {"error": "The service is currently unavailable", "code": "x"}, 503, "upstream_overloaded"),
        ("grok-4.3", {"error": {"message": "at capacity"}}, 503, "upstream_overloaded"),
    ],
)
@pytest.mark.parametrize("form", ["stream", "bare", "whole"])
def test_errors_inside_an_answer(model: str, data: Any, status: int, code: str, form: str) -> None:
    body = json.dumps(data).encode()
    if form == "whole":
        with pytest.raises(GatewayError) as caught:
            whole(body, model)
        error = caught.value
    else:
        error = failure(piece(content="x") + (b"data: " if form == "stream" else b"") + body + b"\n\n", model)
    assert (error.status, error.code) == (status, code)


def test_an_error_beside_bytes_that_are_no_text() -> None:
    error = failure(b'data: {"error": "x", "\xff": 1}\n\n')
    assert error.code == "upstream_bad_response"


def test_text_that_is_no_unicode_loses_a_character_not_the_answer() -> None:
    stream = b'data: {"choices": [{"delta": {"content": "a\\ud83d"}}]}\n\n' + piece(content="b") + END
    assert message(stream)["content"] == "a\ufffdb"
    answer = b'{"choices": [{"message": {"content": "a\xe2\x82"}, "finish_reason": "stop"}]}'
    assert put_together(whole(answer)).choices()[0]["message"]["content"] == "a\ufffd"


def test_json_in_place_of_a_stream() -> None:
    body = {"choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}
    assert message(json.dumps(body, indent=1).encode())["content"] == "Hello"


def test_thoughts_in_tags_are_nous_way() -> None:
    stream = piece(content="<thi") + piece(content="nk>hm</think>\n\nHel") + piece(content="lo") + END
    assert message(stream, "hermes-4-70b")["content"] == "Hello"
    assert message(stream, "hermes-4-70b")["reasoning_content"] == "hm"
    assert message(stream, "gpt-4.1")["content"] == "<think>hm</think>\n\nHello"


def test_thoughts_in_tags_are_each_choices_own() -> None:
    stream = piece(content="<think>a") + piece(1, content="b") + piece(content="</think>c") + piece(1, finish="stop")
    told = [
        (c["message"].get("reasoning_content"), c["message"]["content"]) for c in choices(stream + END, "hermes-4-70b")
    ]
    assert told == [("a", "c"), (None, "b")]


def test_an_unfinished_tag_is_text_after_all() -> None:
    assert message(piece(content="<thin") + END, "hermes-4-70b")["content"] == "<thin"


STREAM = (
    piece(role="assistant", content="")
    + piece(content="Gr\u00fc\u00dfe")
    + piece(reasoning_content="hm")
    + piece(tool_calls=[start(0, "a")])
    + piece(tool_calls=[more(0, '{"x":')])
    + b": keep-alive\n\n"
    + piece(tool_calls=[more(0, "1}")])
    + piece(1, content="b", finish="length")
    + piece(finish="tool_calls")
    + chunk([], usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, model="m")
    + DONE
)


@given(st.integers(1, len(STREAM)), st.booleans())
def test_any_split_is_the_same_answer(size: int, crlf: bool) -> None:
    data = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    cut, plain = put_together(streamed(chat(), data, size)), put_together(streamed(chat(), STREAM))
    assert cut.choices() == plain.choices()
    assert cut.usage == plain.usage
