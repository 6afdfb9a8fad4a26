"""Accumulating SSE answers, and streams that are not complete answers."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.verify.errors import MalformedError
from tools.verify.response import CLAIMS, verify_response
from tools.verify.signing_key import load_signing_key
from tools.verify.stream import reassemble

Json = Any
DONE = b"data: [DONE]\n\n"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
CANONICAL = '{"messages": [{"content": "hi", "role": "user"}], "model": "m", "temperature": 0.0}'


def sse(*chunks: Json, end: bytes = DONE) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + end


def delta(finish_reason: str | None = None, index: int = 0, **fields: Json) -> Json:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": finish_reason}]}


def call(index: int, **fields: Json) -> Json:
    return delta(tool_calls=[{"index": index, **fields}])


def test_text_and_envelope_in_one_last_event(answer_signer: Any) -> None:
    last = {**delta("stop"), "usage": {"total_tokens": 3}, **answer_signer.envelope(CANONICAL, "Hallo ☀")}
    stream = sse(delta(role="assistant", content=""), delta(content="Hal"), delta(content="lo ☀"), last)
    assert reassemble(stream)["choices"] == [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hallo ☀"}}
    ]
    claims = verify_response(load_signing_key(answer_signer.pem), CHAT, stream)
    assert [claim.line().split()[:2] for claim in claims] == [["PASS", name] for name in CLAIMS]


def test_a_choice_that_was_only_begun_is_none() -> None:
    begun = delta(role="assistant", content="")
    stream = sse(begun, delta(index=1, role="assistant", content="Hi"), delta("stop", index=1))
    assert [choice["index"] for choice in reassemble(stream)["choices"]] == [1]
    finished = sse(begun, delta("length"), delta("stop", index=1, content="Hi"))
    assert [choice["index"] for choice in reassemble(finished)["choices"]] == [0, 1]
    with pytest.raises(MalformedError, match="choice 0 has no finish_reason"):
        reassemble(sse(begun, delta(content="H"), delta("stop", index=1, content="Hi")))
    with pytest.raises(MalformedError, match="choice 0 has no finish_reason"):
        reassemble(sse(call(0, id="a"), delta("stop", index=1, content="Hi")))
    with pytest.raises(MalformedError, match="choice 0 has no finish_reason"):
        reassemble(sse(begun))


def test_what_a_chunk_leaves_out_or_says_with_null() -> None:
    chunk = {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}
    empty = {"choices": [{"index": 0, "delta": None, "finish_reason": None}]}
    [choice] = reassemble(sse(chunk, empty))["choices"]
    assert choice == {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}


def test_envelope_in_the_usage_chunk(answer_signer: Any) -> None:
    """Design 4.3: a client that set include_usage gets finish_reason first and a chunk without choices last."""
    last = {"choices": [], "usage": {"total_tokens": 3}, **answer_signer.envelope(CANONICAL, "ab")}
    stream = sse(delta(content="a"), delta(content="b"), delta("stop"), last)
    claims = verify_response(load_signing_key(answer_signer.pem), CHAT, stream)
    assert all(claim.verdict == "PASS" for claim in claims)


def test_tool_calls_are_folded_by_index() -> None:
    stream = sse(
        delta(role="assistant", content=None),
        call(1, id="b", type="function", function={"name": "g", "arguments": ""}),
        call(0, id="a", type="function", function={"name": "f", "arguments": '{"x"'}, extra_content={"k": 1}),
        call(1, function={"arguments": "{}"}),
        call(0, id=None, function={"name": None, "arguments": ":1}"}),
        delta("tool_calls"),
    )
    assert reassemble(stream)["choices"][0]["message"]["tool_calls"] == [
        {
            "id": "a",
            "type": "function",
            "function": {"name": "f", "arguments": '{"x":1}'},
            "extra_content": {"k": 1},
        },
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_repeated_identity_of_a_call_is_said_once_and_a_changed_one_refused() -> None:
    first = call(0, id="a", type="function", function={"name": "f", "arguments": "1"})
    again = call(0, id="a", type="function", function={"name": "f", "arguments": "2"})
    folded = reassemble(sse(first, again, delta("tool_calls")))["choices"][0]["message"]["tool_calls"]
    assert folded == [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "12"}}]
    with pytest.raises(MalformedError, match="two different values of id"):
        reassemble(sse(first, call(0, id="b"), delta("tool_calls")))


@pytest.mark.parametrize(
    "fields",
    [
        {"id": None, "type": None, "function": None, "extra_content": None},
        {"id": "", "type": "", "function": {"name": "", "arguments": ""}},
        {"function": {"name": None, "arguments": None, "strict": None}},
    ],
)
def test_null_and_empty_values_of_a_call_change_nothing(fields: dict[str, Json]) -> None:
    whole, empty = call(0, id="a", type="function", function={"name": "f", "arguments": "{}"}), call(0, **fields)
    for fragments in ((empty, whole), (whole, empty)):
        [choice] = reassemble(sse(*fragments, delta("tool_calls")))["choices"]
        assert choice["message"]["tool_calls"] == [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ]


def test_choices_are_kept_apart_and_ordered() -> None:
    stream = sse(
        delta(content="b", index=1),
        delta(content="a", index=0),
        delta("stop", index=0),
        delta("stop", index=1),
    )
    assert [choice["message"]["content"] for choice in reassemble(stream)["choices"]] == ["a", "b"]


def test_legacy_completion_text() -> None:
    stream = sse(
        {"object": "text_completion", "choices": [{"index": 0, "text": "x", "finish_reason": None}]},
        {"object": "text_completion", "choices": [{"index": 0, "text": "y", "finish_reason": "stop"}], "tee_id": "0x"},
    )
    assert reassemble(stream) == {
        "object": "text_completion",
        "choices": [{"index": 0, "finish_reason": "stop", "text": "xy"}],
        "tee_id": "0x",
    }


def test_comments_line_ends_split_data_and_a_missing_last_newline() -> None:
    body = json.dumps(delta("stop", content="ok"), indent=1).replace("\n", "\ndata:")
    stream = f"\ufeff: ping\n\nevent: message\ndata:{body}\n\n: ping\n\ndata: [DONE]".replace("\n", "\r\n").encode()
    assert reassemble(stream)["choices"][0]["message"]["content"] == "ok"
    assert reassemble(stream.replace(b"\r\n", b"\r"))["choices"][0]["message"]["content"] == "ok"


SIGNED = {**delta("stop"), "tee_signature": "s"}


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (sse(delta(content="a"), end=b""), "without \\[DONE\\]"),
        (
            sse(delta(content="a"), {"error": {"code": "upstream_error", "message": "secret"}}, end=b""),
            "event 2 is an error: upstream_error",
        ),
        (sse({"error": {"code": None, "type": "server_error"}}), "event 1 is an error: server_error"),
        (sse({"error": {"message": "secret"}}), "event 1 is an error: no details"),
        (sse({"error": "secret"}), "event 1 is an error: no details"),
        (sse(delta(content="a")), "choice 0 has no finish_reason"),
        (sse(delta("stop"), end=DONE + DONE), "follows \\[DONE\\]"),
        (sse(SIGNED, delta(content="more")), "event 2 follows the signed event"),
        (sse(end=DONE), "without choices"),
        (b"data: {\n\n" + DONE, "event 1 is not JSON"),
        (b"data: [1]\n\n" + DONE, "event 1 is not a JSON object"),
        (sse({"choices": 1}), "choices is not a list"),
        (sse({"choices": [1]}), "not an object"),
        (sse({"choices": [{"index": "0"}]}), "not a number"),
        (sse({"choices": [{"index": -1}]}), "not a number"),
        (sse({"choices": [{"index": True}]}), "not a number"),
        (sse({"choices": [{"delta": 1}]}), "delta is not an object"),
        (sse(delta(content=1)), "not text"),
        (sse({"choices": [{"index": 0, "text": "unsigned", "delta": {"content": "a"}}]}), "both a delta and a text"),
        (sse(delta(content="a"), {"choices": [{"index": 0, "text": "b"}]}), "both a delta and a text"),
        (sse({"choices": [{"index": 0, "text": "b"}]}, delta("stop")), "both a delta and a text"),
        (sse(delta(tool_calls=1)), "tool_calls is not a list"),
        (sse(call(0, function="f")), "function is not an object"),
        (sse(call(0, function={"arguments": 1})), "arguments is not text"),
    ],
)
def test_what_is_not_a_whole_answer_is_refused(stream: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason) as caught:
        reassemble(stream)
    assert "secret" not in str(caught.value)


def test_a_cut_stream_fails_without_checking_anything_else(answer_signer: Any) -> None:
    claims = verify_response(load_signing_key(answer_signer.pem), CHAT, sse(delta(content="a"), end=b""))
    assert {claim.name: str(claim.verdict) for claim in claims} == {
        "tee_id": "SKIP",
        "request_hash": "SKIP",
        "output_hash": "FAIL",
        "signature": "SKIP",
    }


@given(st.lists(st.text()), st.booleans())
def test_any_split_of_the_text_gives_the_same_answer(pieces: list[str], crlf: bool) -> None:
    stream = sse(*[delta(content=piece) for piece in pieces], delta("stop"))
    if crlf:
        stream = stream.replace(b"\n", b"\r\n")
    assert reassemble(stream)["choices"][0]["message"]["content"] == "".join(pieces)


@given(st.binary(max_size=200), st.sampled_from([b"", DONE]))
def test_any_bytes_are_an_answer_or_malformed(noise: bytes, end: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert reassemble(b"data: " + noise + b"\n\n" + end)["choices"]
