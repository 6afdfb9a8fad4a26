"""Decoding Gemini's answers, complete and streamed: text, calls, images, finish reasons and faults."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import (
    Delta,
    Finish,
    Image,
    Text,
    ToolCallStart,
    UpstreamMetadata,
)
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.usage import Usage
from gateway.upstreams.sse import Event
from tests.upstreams.decoding import put_together
from tests.upstreams.gemini_chats import (
    CALL,
    COUNTS,
    PNG,
    PNG_PART,
    WEATHER,
    adapter,
    chat,
    frames,
    parts,
    streamed,
    tool,
    whole,
)

USAGE = Usage(prompt_tokens=7, completion_tokens=3)


def only(response: dict[str, Any]) -> dict[str, Any]:
    """The only choice of a complete answer."""
    [choice] = whole(response).choices()
    return choice


def fed(*responses: dict[str, Any]) -> list[Delta]:
    """The deltas of a stream up to its error."""
    decoder = adapter().decoder(chat(stream=True))
    deltas: list[Delta] = []
    try:
        for response in responses:
            deltas.extend(decoder.feed(Event("", msgspec.json.encode(response))))
    except GatewayError:
        return deltas
    pytest.fail("no error came")


def test_deltas_of_an_answer() -> None:
    response = parts({"text": "Hi"}, CALL, PNG_PART, finish="STOP", usageMetadata=COUNTS)
    served, text, start, image, usage, finish = adapter().decode_response(chat(), msgspec.json.encode(response))
    assert served == UpstreamMetadata(model="gemini-3-flash-preview", id="r1")
    assert text == Text("Hi")
    assert isinstance(start, ToolCallStart)
    assert (start.index, start.name, start.arguments, start.extra_content) == (0, "weather", '{"city":"Oslo"}', None)
    assert image == Image(PNG)
    assert usage == USAGE
    assert finish == Finish("tool_calls")


def test_what_the_upstream_says_of_itself_is_said_once() -> None:
    answer = streamed(frames(parts({"text": "a"}), parts({"text": "b"}, finish="STOP", usageMetadata=COUNTS)))
    assert answer.metadata == UpstreamMetadata(model="gemini-3-flash-preview", id="r1")
    decoder = adapter().decoder(chat(stream=True))
    deltas = [delta for text in "ab" for delta in decoder.feed(Event("", msgspec.json.encode(parts({"text": text}))))]
    assert sum(isinstance(delta, UpstreamMetadata) for delta in deltas) == 1


REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        [
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
            *("ESCALATION", "PUP_LIMITED_DISABLED", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
            *("IMAGE_OTHER", "NO_IMAGE"),
        ],
        "content_filter",
    ),
    "OTHER": "stop",
    "FINISH_REASON_UNSPECIFIED": "stop",
    "SOMETHING_NEW": "stop",
}


@pytest.mark.parametrize("reason", REASONS)
def test_finish_reasons(reason: str) -> None:
    assert only(parts({"text": "x"}, finish=reason))["finish_reason"] == REASONS[reason]
    assert streamed(frames(parts({"text": "x"}), parts(finish=reason))).finish_reasons() == {0: REASONS[reason]}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("STOP", "tool_calls"), ("OTHER", "tool_calls"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter")],
)
def test_a_call_in_an_earlier_chunk_decides_about_the_ending(reason: str, expected: str) -> None:
    assert streamed(frames(parts(CALL), parts({"text": ""}, finish=reason))).finish_reasons() == {0: expected}


@pytest.mark.parametrize(
    ("reason", "expected"), [("STOP", "stop"), ("OTHER", "content_filter"), (None, "content_filter")]
)
def test_an_answer_without_anything(reason: str | None, expected: str) -> None:
    choice = only({"candidates": [{"content": {"role": "model"}} | ({"finishReason": reason} if reason else {})]})
    assert choice["finish_reason"] == expected
    assert choice["message"] == {"role": "assistant", "content": "", "refusal": None}


def test_a_complete_answer_may_leave_its_reason_unspecified() -> None:
    assert only(parts({"text": "Hi"}))["finish_reason"] == "stop"


def test_thoughts_used_up_the_limit() -> None:
    """facts/providers.md 5.4."""
    counts = {"promptTokenCount": 5, "thoughtsTokenCount": 20, "totalTokenCount": 25}
    answer = whole(
        {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}], "usageMetadata": counts}
    )
    [choice] = answer.choices()
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")
    assert answer.usage == Usage(prompt_tokens=5, completion_tokens=20, reasoning_tokens=20)


@pytest.mark.parametrize(
    "reason",
    [
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    ],
)
def test_a_broken_answer_is_the_upstreams_fault_and_still_counted(reason: str) -> None:
    with pytest.raises(GatewayError) as caught:
        whole(parts(finish=reason))
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (502, "upstream_bad_response", True)
    assert fed(parts({"text": "x"}), parts(finish=reason, usageMetadata=COUNTS))[-1] == USAGE


@pytest.mark.parametrize(
    ("reason", "tokens", "finish"),
    [
        ("MALFORMED_FUNCTION_CALL", 20, "length"),
        ("MALFORMED_FUNCTION_CALL", 19, None),
        ("UNEXPECTED_TOOL_CALL", 20, None),
    ],
)
def test_a_call_that_the_output_limit_cut_off(reason: str, tokens: int, finish: str | None) -> None:
    """Another attempt would be cut off as well."""
    counts = {"promptTokenCount": 5, "candidatesTokenCount": tokens - 8, "thoughtsTokenCount": 8}
    response = {"candidates": [{"content": {}, "finishReason": reason}], "usageMetadata": counts}
    bound = chat(max_tokens=20)
    reads: list[Callable[[], Assembler]] = [lambda: whole(response, bound), lambda: streamed(frames(response), bound)]
    for read in reads:
        if finish is None:
            with pytest.raises(GatewayError, match=reason):
                read()
        else:
            [choice] = read().choices()
            assert (choice["message"]["content"], choice["finish_reason"]) == ("", finish)


@pytest.mark.parametrize("reason", ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "JAILBREAK"])
def test_a_blocked_prompt(reason: str) -> None:
    response = {
        "promptFeedback": {"blockReason": reason},
        "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
    }
    for answer in (whole(response), streamed(frames(response))):
        [choice] = answer.choices()
        assert (choice["message"]["content"], choice["finish_reason"]) == ("", "content_filter")
        assert answer.usage == Usage(prompt_tokens=4)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"<html>", b'{"candidates": 5}', b'{"candidates"', b"[" * 100_000, b"\xff"]
)
def test_garbage(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        list(adapter().decode_response(chat(), body))
    assert (caught.value.status, caught.value.code) == (502, "upstream_bad_response")


def test_no_candidate_and_no_reason() -> None:
    with pytest.raises(GatewayError) as caught:
        whole({"usageMetadata": COUNTS})
    assert (caught.value.code, caught.value.retryable) == ("upstream_bad_response", True)


def test_candidates_become_choices() -> None:
    candidates = [
        {"index": 1, "content": {"parts": [{"text": "B"}]}, "finishReason": "MAX_TOKENS"},
        {"index": 0, "content": {"parts": [CALL]}, "finishReason": "STOP"},
    ]
    first, second = whole({"candidates": candidates}).choices()
    assert (first["finish_reason"], second["finish_reason"]) == ("tool_calls", "length")
    assert second["message"]["content"] == "B"


def test_an_array_of_responses_is_one_answer() -> None:
    """What streamGenerateContent answers without alt=sse."""
    body = msgspec.json.encode([parts({"text": "a"}), parts({"text": "b"}, finish="MAX_TOKENS")])
    [choice] = put_together(adapter().decode_response(chat(), body)).choices()
    assert (choice["message"]["content"], choice["finish_reason"]) == ("ab", "length")


def test_calls_have_ids_and_indexes_of_their_own() -> None:
    with_id = {"functionCall": {"name": "weather", "id": "g7"}}
    calls = only(parts(CALL, with_id, CALL, finish="STOP"))["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"city":"Oslo"}', "{}", '{"city":"Oslo"}']
    assert calls[1]["id"] == "g7"
    assert len({call["id"] for call in calls}) == 3
    assert all(call["id"].startswith("call_") for call in (calls[0], calls[2]))


def test_an_id_given_twice_is_used_once() -> None:
    named = {"functionCall": {"name": "weather", "id": "g7"}}
    body = parts(named, named, {"functionCall": {"name": "weather", "id": "g8"}}, finish="STOP")
    first, second, third = only(body)["message"]["tool_calls"]
    assert (first["id"], third["id"]) == ("g7", "g8")
    assert second["id"].startswith("call_")
    assert streamed(frames(body)).choices()[0]["message"]["tool_calls"][1]["id"] == second["id"]


def test_text_that_is_no_unicode_loses_a_character_not_the_answer() -> None:
    body = msgspec.json.encode(parts({"text": "half"}, finish="STOP")).replace(b"half", rb"a\ud83d")
    assert put_together(adapter().decode_response(chat(), body)).choices()[0]["message"]["content"] == "a\ufffd"


def test_an_invented_id_is_the_same_streamed_or_not_and_another_in_the_next_turn() -> None:
    def minted(**body: Any) -> str:
        found: str = whole(parts(CALL, finish="STOP"), chat(**body)).choices()[0]["message"]["tool_calls"][0]["id"]
        return found

    assert streamed(frames(parts(CALL, finish="STOP"))).choices()[0]["message"]["tool_calls"][0]["id"] == minted()
    assert minted() != minted(messages=[{"role": "user", "content": "Hello"}] * 2)


def test_rewritten_tool_names_are_the_callers_again() -> None:
    bound = chat(tools=[WEATHER, {"type": "function", "function": {"name": "9.lives"}}])
    response = parts({"functionCall": {"name": "_.lives"}}, {"functionCall": {"name": "weather"}}, finish="STOP")
    calls = whole(response, bound).choices()[0]["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["9.lives", "weather"]


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("default_api:weather", "weather"),
        ("default_api.weather", "weather"),
        ("invented.weather", "weather"),
        ("default_api:mcp.read", "mcp.read"),
        ("default_api:_.lives", "9.lives"),
        ("default_api.read", "default_api.read"),
        ("default_api:unknown", "default_api:unknown"),
        ("unknown", "unknown"),
    ],
)
def test_a_namespace_that_the_model_adds_is_not_part_of_a_tools_name(called: str, name: str) -> None:
    bound = chat(tools=[WEATHER, *(tool(declared) for declared in ("9.lives", "mcp.read", "default_api.read", "read"))])
    response = parts({"functionCall": {"name": called, "args": {}}}, finish="STOP")
    assert whole(response, bound).choices()[0]["message"]["tool_calls"][0]["function"]["name"] == name


def test_drafts_are_not_delivered() -> None:
    response = parts(PNG_PART | {"thought": True}, {"text": "Hm.", "thought": True}, PNG_PART, finish="STOP")
    message = only(response)["message"]
    assert (message["images"], message["reasoning_content"], message["content"]) == ([PNG], "Hm.", "")


def test_a_picture_may_be_missing() -> None:
    choice = only(parts(finish="NO_IMAGE"))
    assert choice["finish_reason"] == "content_filter"
    assert "images" not in choice["message"]


def test_the_tier_that_answered_is_told() -> None:
    assert (
        whole(parts({"text": "x"}, finish="STOP", usageMetadata=COUNTS | {"serviceTier": "flex"})).metadata.service_tier
        == "flex"
    )
