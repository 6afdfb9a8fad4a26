"""Anthropic's ``pause_turn``: the continuation request, and joining both answers into one (facts/providers.md 3.10)."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.openai_api.deltas import Delta, Finish, Paused, UpstreamMetadata
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import Chat
from tests.upstreams.anthropic_chats import HELLO, WEATHER, adapter, as_stream, chat, sent
from tests.upstreams.anthropic_events import block, end, start, text, tool
from tests.upstreams.decoding import put_together, read_stream

RESULT = {"type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "c2Vh"}
CITATION = {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "encrypted_index": "x"}


def search(index: int, call_id: str = "srvtoolu_1") -> list[dict[str, Any]]:
    call = {"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {}, "caller": {"type": "direct"}}
    result = {"type": "web_search_tool_result", "tool_use_id": call_id, "content": [RESULT]}
    fragments = ("", '{"query": "os', 'lo"}')
    pieces: list[dict[str, Any]] = [{"type": "input_json_delta", "partial_json": piece} for piece in fragments]
    return [*block(index, call, *pieces), *block(index + 1, result)]


def searching(**parameters: Any) -> Chat:
    return chat("claude-sonnet-4-6", web_search_options={}, **parameters)


def first_part() -> list[dict[str, Any]]:
    thought = {"type": "thinking", "thinking": "", "signature": ""}
    thoughts = [{"type": "thinking_delta", "thinking": "Hm"}, {"type": "signature_delta", "signature": "sig"}]
    cited: dict[str, Any] = {"type": "text", "text": "", "citations": []}
    said: list[dict[str, Any]] = [
        {"type": "text_delta", "text": "Oslo is "},
        {"type": "citations_delta", "citation": CITATION},
    ]
    return [start(), *block(0, thought, *thoughts), *text(1, "\n\n"), *search(2), *block(4, cited, *said)]


SO_FAR = [
    {"type": "thinking", "thinking": "Hm", "signature": "sig"},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "oslo"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [RESULT]},
    {"type": "text", "text": "Oslo is ", "citations": [CITATION]},
]


def decoded(bound: Chat, *events: dict[str, Any]) -> list[Delta]:
    return list(read_stream(adapter().decoder(bound), as_stream(events)))


def paused(bound: Chat, *events: dict[str, Any]) -> Paused:
    *_, last = decoded(bound, *events, *end("pause_turn"))
    assert isinstance(last, Paused)
    return last


def test_the_turn_goes_back_as_it_came() -> None:
    pause = paused(searching(), *first_part())
    assert (pause.content, pause.output_tokens) == (SO_FAR, 5)


def test_a_complete_answer_pauses_alike() -> None:
    body = start()["message"] | {"content": SO_FAR, "stop_reason": "pause_turn"}
    *_, last = adapter().decode_response(searching(), msgspec.json.encode(body))
    assert isinstance(last, Paused)
    assert last.content == SO_FAR


def test_what_is_asked_next() -> None:
    bound = searching(max_tokens=100)
    before = msgspec.json.decode(adapter().build_request(bound).body)
    bound.paused = paused(bound, *first_part())
    after = msgspec.json.decode(adapter().build_request(bound).body)
    assert after["messages"] == [*before["messages"], {"role": "assistant", "content": SO_FAR}]
    assert (before["max_tokens"], after["max_tokens"]) == (100, 95)
    assert (before["tools"][0]["max_uses"], after["tools"][0]["max_uses"]) == (5, 4)
    assert after.keys() == before.keys()


def test_nothing_is_asked_past_the_output_limit() -> None:
    bound = searching(max_tokens=5)
    bound.paused = paused(bound, *first_part())
    with pytest.raises(GatewayError, match="output limit"):
        adapter().build_request(bound)


def test_the_rest_continues_the_answer() -> None:
    bound = searching(tools=[WEATHER])
    deltas = decoded(bound, *first_part(), *tool(5, '{"city":"Oslo"}'), *end("pause_turn"))
    bound.paused = deltas.pop()  # type: ignore[assignment]
    rest = [*text(0, "big."), *tool(1, '{"city":"Rome"}', call_id="toolu_2")]
    second = decoded(bound, start(message_id="msg_2"), *rest, *end("tool_use"))
    assert isinstance(second[-1], Finish)
    assert [delta.id for delta in second if isinstance(delta, UpstreamMetadata)] == [None]
    whole = put_together([*deltas, *second])
    message = whole.choices()[0]["message"]
    assert message["content"] == "\n\nOslo is big."
    assert [(call["id"], call["function"]["arguments"]) for call in message["tool_calls"]] == [
        ("toolu_1", '{"city":"Oslo"}'),
        ("toolu_2", '{"city":"Rome"}'),
    ]
    assert message["annotations"][0]["url_citation"] == {
        "url": "https://a.example",
        "title": "A",
        "start_index": 2,
        "end_index": 10,
    }
    assert (whole.metadata.id, whole.choices()[0]["finish_reason"]) == ("msg_1", "tool_calls")


def test_a_thought_before_the_pause_goes_back_with_the_call_after_it() -> None:
    through, bound = adapter(), searching(tools=[WEATHER], reasoning_effort="low")
    *_, bound.paused = read_stream(through.decoder(bound), as_stream([*first_part(), *end("pause_turn")]))  # type: ignore[assignment]
    rest = [start(message_id="msg_2"), *tool(0, '{"city":"Oslo"}'), *end("tool_use")]
    message = put_together(read_stream(through.decoder(bound), as_stream(rest))).choices()[0]["message"]
    answered = {"role": "assistant", "content": "\n\nOslo is ", "tool_calls": message["tool_calls"]}
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "4 C"}
    bound = searching(tools=[WEATHER], reasoning_effort="low", messages=[HELLO, answered, result])
    assert sent(bound, through)["messages"][1]["content"][0] == SO_FAR[0]


def test_a_turn_paused_twice_goes_back_whole() -> None:
    bound = searching()
    bound.paused = paused(bound, *first_part())
    again = paused(bound, start(message_id="msg_2"), *text(0, "big"), *search(1, "srvtoolu_2"))
    assert again.content[: len(SO_FAR)] == SO_FAR
    assert [part["type"] for part in again.content[len(SO_FAR) :]] == [
        "text",
        "server_tool_use",
        "web_search_tool_result",
    ]
    assert again.output_tokens == 10


def test_the_rest_may_have_the_id_of_the_beginning() -> None:
    bound = searching()
    deltas = decoded(bound, *first_part(), *end("pause_turn"))
    bound.paused = deltas.pop()  # type: ignore[assignment]
    whole = put_together([*deltas, *decoded(bound, start(), *text(0, "big."), *end())])
    assert whole.choices()[0]["message"]["content"] == "\n\nOslo is big."


def test_a_pause_without_server_tools_is_an_unfinished_answer() -> None:
    deltas = decoded(chat(), start(), *text(0, "Hi"), *end("pause_turn"))
    assert deltas[-1] == Finish("length")


def test_json_that_broke_off_cannot_be_sent_back() -> None:
    events = [event for event in search(0) if event.get("delta", {}).get("partial_json") != 'lo"}']
    assert decoded(searching(), start(), *events, *end("pause_turn"))[-1] == Finish("length")


def test_a_beginning_that_was_given_up_is_not_sent_back() -> None:
    pause = paused(searching(), start(), *text(0, "gone"), start(message_id="msg_2"), *text(0, "kept"))
    assert pause.content == [{"type": "text", "text": "kept"}]


def test_what_is_unknown_is_sent_back_as_it_began() -> None:
    odd = {"type": "novelty", "data": {"a": 1}}
    pause = paused(searching(), start(), *block(0, odd, {"type": "novelty_delta", "data": "b"}))
    assert pause.content == [odd]


def test_fences_around_json_span_the_pause() -> None:
    bound = searching(response_format={"type": "json_object"})
    deltas = decoded(bound, start(), *text(0, "```json\n{"), *end("pause_turn"))
    pause = deltas.pop()
    assert isinstance(pause, Paused)
    rest = decoded(replace(bound, paused=pause), start(message_id="msg_2"), *text(0, '"a": 1}\n```'), *end())
    assert put_together([*deltas, *rest]).choices()[0]["message"]["content"] == '{"a": 1}'
