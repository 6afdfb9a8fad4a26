"""Gemini's event streams: chunks, partial arguments, splits, and errors outside events (facts/providers.md 5.8)."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.errors import GatewayError
from gateway.openai_api.usage import Usage
from tests.upstreams.gemini_chats import CALL, COUNTS, PNG_PART, frames, parts, streamed, whole

OVERLOADED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


def broken(stream: bytes) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        streamed(stream)
    return caught.value


def test_counts_of_a_stream_are_cumulative() -> None:
    earlier = {"promptTokenCount": 9, "candidatesTokenCount": 1, "thoughtsTokenCount": 30}
    answer = streamed(
        frames(parts({"text": "a"}, usageMetadata=earlier), parts({"text": "b"}, finish="STOP", usageMetadata=COUNTS))
    )
    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=3)


def partial(*pieces: dict[str, Any], more: bool = False, name: str | None = None) -> dict[str, Any]:
    call: dict[str, Any] = {"partialArgs": list(pieces)} if pieces else {}
    return parts({"functionCall": call | ({"name": name} if name else {}) | ({"willContinue": True} if more else {})})


def test_arguments_in_pieces() -> None:
    """facts/providers.md 5.8: other hosts of the same models stream them."""
    stream = frames(
        partial(name="plan", more=True),
        partial({"jsonPath": "$.city", "stringValue": "Os", "willContinue": True}, more=True),
        partial({"jsonPath": "$.city", "stringValue": "lo"}, more=True),
        partial(
            {"jsonPath": "$.days[0].high", "numberValue": 4},
            {"jsonPath": "$.days[0].low", "numberValue": -1.5},
            more=True,
        ),
        partial(
            {"jsonPath": "$.days[1]['a b']", "boolValue": True},
            {"jsonPath": "$.none", "nullValue": "NULL_VALUE"},
            more=True,
        ),
        partial(),
        partial({"jsonPath": "$.city", "stringValue": "Rome"}, name="plan"),
        parts(finish="STOP"),
    )
    calls = streamed(stream).choices()[0]["message"]["tool_calls"]
    assert [msgspec.json.decode(call["function"]["arguments"]) for call in calls] == [
        {"city": "Oslo", "days": [{"high": 4, "low": -1.5}, {"a b": True}], "none": None},
        {"city": "Rome"},
    ]


def test_a_call_that_never_ended_keeps_what_it_has() -> None:
    stream = frames(
        partial({"jsonPath": "$.a", "numberValue": 1}, name="f", more=True),
        partial(name="g", more=True),
        parts(finish="STOP"),
    )
    calls = streamed(stream).choices()[0]["message"]["tool_calls"]
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        ("f", '{"a":1}'),
        ("g", "{}"),
    ]


@pytest.mark.parametrize("path", ["", "a", "$", "$.", "$.a[", "$[0]", "$.a.b.c", "$.list[7]", "$..a"])
def test_paths_that_lead_nowhere(path: str) -> None:
    pieces = ({"jsonPath": "$.a", "stringValue": "x"}, {"jsonPath": path, "stringValue": "y"})
    assert broken(frames(partial(*pieces, name="f"))).code == "upstream_bad_response"


def test_pieces_of_no_call() -> None:
    assert broken(frames(partial({"jsonPath": "$.a", "numberValue": 1}))).code == "upstream_bad_response"


def test_a_stream_that_ends_early_is_truncated() -> None:
    for stream in (b"", frames(parts({"text": "a"})), frames(parts(CALL)), b": comment\r\n\r\n"):
        error = broken(stream)
        assert (error.status, error.code) == (502, "upstream_truncated")


@pytest.mark.parametrize("shape", ["bare", "array", "event", "cut", "list"])
def test_errors_inside_a_stream(shape: str) -> None:
    body = msgspec.json.format(msgspec.json.encode(OVERLOADED), indent=2)
    tails = {
        "bare": body + b"\n",
        "array": b"[" + body + b"\r\n]",
        "event": b"data: " + msgspec.json.encode(OVERLOADED) + b"\r\n\r\n",
        "cut": body[:-20],
        "list": b"data: " + msgspec.json.encode([OVERLOADED]) + b"\n\n",
    }
    code = "upstream_bad_response" if shape == "cut" else "upstream_overloaded"
    assert broken(frames(parts({"text": "a"})) + tails[shape]).code == code
    complete = streamed(frames(parts({"text": "a"}, finish="STOP")) + tails[shape])
    assert complete.finish_reasons() == {0: "stop"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, 429),
        ({"status": "INTERNAL"}, 502),
        ({"status": "DEADLINE_EXCEEDED"}, 504),
        ({"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}, 502),
        ({}, 502),
    ],
)
def test_kinds_of_errors_inside_a_stream(error: dict[str, Any], status: int) -> None:
    assert broken(frames({"error": error})).status == status


PIECES = st.lists(
    st.one_of(
        st.builds(lambda text: {"text": text}, st.text(max_size=20)),
        st.builds(lambda text: {"text": text, "thought": True}, st.text(max_size=20)),
        st.builds(lambda seal: {"text": "", "thoughtSignature": seal}, st.sampled_from(["AAAA", "BBBB"])),
        st.just(CALL),
        st.just(CALL | {"thoughtSignature": "CCCC"}),
        st.just(PNG_PART),
    ),
    max_size=8,
)


@given(PIECES, st.integers(1, 40))
def test_streamed_and_whole_answers_are_equal(pieces: list[dict[str, Any]], step: int) -> None:
    """Whatever the parts are, and however they are spread over chunks and split by the network."""
    together = whole(parts(*pieces, finish="STOP", usageMetadata=COUNTS))
    chunks = [parts(piece) for piece in pieces]
    stream = frames(*chunks, parts({"text": ""}, finish="STOP", usageMetadata=COUNTS))
    apart = streamed(stream, step=step)
    assert apart.choices() == together.choices()
    assert apart.usage == together.usage


WORDS = st.sampled_from(
    [
        *(
            "candidates",
            "content",
            "parts",
            "text",
            "thought",
            "functionCall",
            "name",
            "args",
            "partialArgs",
            "jsonPath",
        ),
        *(
            "stringValue",
            "numberValue",
            "willContinue",
            "inlineData",
            "mimeType",
            "data",
            "finishReason",
            "STOP",
            "index",
        ),
        *(
            "usageMetadata",
            "promptTokenCount",
            "groundingMetadata",
            "groundingChunks",
            "web",
            "uri",
            "groundingSupports",
        ),
        *(
            "segment",
            "startIndex",
            "groundingChunkIndices",
            "promptFeedback",
            "blockReason",
            "error",
            "code",
            "details",
        ),
        *("violations", "retryDelay", "reason", "$.a", "$.a[0]", "image/png", "x"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)
PART = st.dictionaries(
    st.sampled_from(["text", "thought", "thoughtSignature", "functionCall", "inlineData"]), JSON, max_size=3
)
CANDIDATE = st.fixed_dictionaries(
    {"content": st.fixed_dictionaries({"parts": st.lists(PART, max_size=3)})},
    optional={"index": JSON, "finishReason": JSON, "groundingMetadata": JSON},
)
RESPONSE = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(CANDIDATE, max_size=2),
        "usageMetadata": JSON,
        "error": JSON,
        "promptFeedback": JSON,
    },
)


@given(st.lists(RESPONSE | JSON, max_size=4))
def test_whatever_comes_is_an_answer_or_an_upstream_error(responses: list[Any]) -> None:
    with suppress(GatewayError):
        assert streamed(frames(*responses)).finish_reasons()
