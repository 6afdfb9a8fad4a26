"""Answers of the OpenAI-shaped vendors: the same choices, complete or streamed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.deltas import Finish, Text, UpstreamMetadata
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.usage import Usage
from tests.upstreams.decoding import put_together
from tests.upstreams.openai_chats import chat, streamed
from tests.upstreams.openai_streams import DONE, END, choices, chunk, failure, message, more, piece, start, whole


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
    assert assembler.metadata == UpstreamMetadata(
        model="gpt-4.1-2025-04-14", service_tier="priority", system_fingerprint="fp"
    )


@pytest.mark.parametrize(
    ("vendors", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "stop"),
        ("function_call", "stop"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("", "stop"),
    ],
)
def test_finish_reasons_of_answers_without_calls(vendors: str, ours: str) -> None:
    [choice] = choices(piece(content="x") + piece(finish=vendors) + DONE)
    assert choice["finish_reason"] == ours


@pytest.mark.parametrize(
    ("vendors", "ours"),
    [
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("", "tool_calls"),  # facts/providers.md 6.3
        (None, "tool_calls"),
        ("stop", "stop"),
        ("length", "length"),
        ("eos", "stop"),
    ],
)
def test_finish_reasons_of_answers_with_calls(vendors: str | None, ours: str) -> None:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    [choice] = choices(piece(tool_calls=[call], finish=vendors) + DONE)
    assert choice["finish_reason"] == ours


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
    assert [type(delta) for delta in deltas] == [UpstreamMetadata, Text, Usage, Finish]


def test_what_the_vendor_says_of_itself_is_said_once() -> None:
    same = {"model": "m", "system_fingerprint": "fp"}
    ending = chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}], model="n")
    deltas = streamed(chat(), chunk([], **same) + chunk([], **same) + ending + DONE)
    assert [delta for delta in deltas if isinstance(delta, UpstreamMetadata)] == [
        UpstreamMetadata(model="m", system_fingerprint="fp"),
        UpstreamMetadata(model="n"),
    ]


def test_the_verdict_of_a_moderation_follows_the_usage() -> None:
    """As recorded on 2026-07-22 (pai-openai-moderation-stream)."""
    verdict = {"input": {"type": "moderation_results", "model": "omni-moderation-latest", "results": []}}
    stream = (
        piece(content="x", finish="stop")
        + chunk([], usage={"prompt_tokens": 1, "completion_tokens": 1})
        + chunk([], moderation=verdict, usage=None)
        + DONE
    )
    answer = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "moderation": verdict}
    for assembler in (put_together(streamed(chat(), stream)), put_together(whole(answer))):
        assert assembler.metadata == UpstreamMetadata(moderation=verdict)
        assert assembler.choices()[0]["message"]["content"] == "x"


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


@pytest.mark.parametrize("finish", ["abort", "error"])
def test_an_answer_that_the_server_broke_off_is_truncated(finish: str) -> None:
    """vLLM and SGLang end it like any other, with ``[DONE]``."""
    error = failure(piece(content="x") + piece(finish=finish) + DONE)
    assert (error.status, error.code) == (502, "upstream_truncated")
    with pytest.raises(GatewayError, match="before it was complete"):
        whole({"choices": [{"message": {"content": "x"}, "finish_reason": finish}]})


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
    assert caught.value.code == "upstream_bad_response"
    assert caught.value.message == "The upstream's response has no choices"


@pytest.mark.parametrize(
    ("model", "data", "status", "code"),
    [
        ("gpt-4.1", {"error": {"type": "server_error", "message": "x"}}, 502, "upstream_error"),
        ("gpt-4.1", {"error": {"code": "rate_limit_exceeded", "message": "x"}}, 429, "rate_limit_exceeded"),
        ("gpt-4.1", {"error": {"message": "x"}}, 502, "upstream_bad_response"),
        ("grok-4.3", {"error": "The service is currently unavailable", "code": "x"}, 503, "upstream_overloaded"),
        ("grok-4.3", {"error": {"message": "at capacity"}}, 503, "upstream_overloaded"),
        ("grok-4.3", {"code": "invalid-argument", "error": "maximum prompt length"}, 400, "context_length_exceeded"),
        ("grok-4.3", {"code": "invalid-argument", "error": "Incorrect API key"}, 502, "upstream_auth_failed"),
        ("grok-4.3", {"code": "permission-denied", "error": "usage guidelines"}, 400, "content_policy_violation"),
        ("seed-1.6", {"error": {"code": "OutputTextSensitiveContentDetected"}}, 400, "content_policy_violation"),
        ("seed-1.6", {"error": {"code": "ModelNotOpen", "type": "NotFound"}}, 404, "model_not_found"),
        ("seed-1.6", {"error": {"code": "QuotaExceeded", "type": "TooManyRequests"}}, 502, "upstream_billing"),
        ("gpt-4.1", {"error": {"type": "invalid_request_error", "message": "x"}}, 400, None),
    ],
)
@pytest.mark.parametrize("form", ["stream", "bare", "whole"])
def test_errors_inside_an_answer(model: str, data: Any, status: int, code: str | None, form: str) -> None:
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
