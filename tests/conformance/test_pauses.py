"""Anthropic's ``pause_turn`` during server-side searches: the caller gets one answer (facts/providers.md 3.10)."""

import json
from typing import Any

import pytest

from tests.conformance.harness import Exchange, Harness, check_proof
from tests.event_streams import events
from tests.upstreams.anthropic_chats import as_stream
from tests.upstreams.anthropic_events import block, end, start, text
from tools.simulators import RawReply, Scenario
from tools.verify.claims import Verdict

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "claude-sonnet-4-6"
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
USAGE = {"input_tokens": 100, "output_tokens": 1}
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def part(words: str, reason: str, *, stream: bool, message: str) -> Scenario:
    """A message of text and a search with the stop reason ``reason``."""
    usage = USAGE | {"output_tokens": 20, "server_tool_use": {"web_search_requests": 1}}
    if stream:
        told = [start(USAGE, message), *text(0, words), *block(1, SEARCH), *end(reason, usage=usage)]
        return raw("text/event-stream", as_stream(told))
    body = start(usage, message)["message"] | {"content": [{"type": "text", "text": words}, SEARCH]}
    return raw("application/json", json.dumps(body | {"stop_reason": reason, "usage": usage}).encode())


def raw(content_type: str, body: bytes, status: int = 200) -> Scenario:
    return Scenario(raw=RawReply(status=status, headers=(("content-type", content_type),), chunks=(body,)))


async def ask(harness: Harness, *scenarios: Scenario, stream: bool, **parameters: Any) -> Exchange:
    harness.fleet.anthropic.enqueue(*scenarios)
    question = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "web_search_options": {}}
    return await harness.ask(question | {"stream": stream} | parameters)


@streamed_or_not
async def test_the_parts_are_one_answer(harness: Harness, stream: bool) -> None:
    """Each call is metered and priced by itself, and the signature covers the whole answer."""
    parts = [
        part("Oslo ", "pause_turn", stream=stream, message="msg_1"),
        part("is ", "pause_turn", stream=stream, message="msg_2"),
        part("big.", "end_turn", stream=stream, message="msg_3"),
    ]
    exchange = await ask(harness, *parts, stream=stream)
    assert (exchange.message["content"], exchange.choice["finish_reason"]) == ("Oslo is big.", "stop")
    usage = exchange.answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (300, 60, 360)
    check_proof(exchange)
    record = await harness.record(exchange)
    assert (record.state, record.cost_usd) == ("settled", "0.030600")  # 300 × 1 + 60 × 5 per million, 3 searches
    first, second, third = (received.json for received in harness.fleet.anthropic.requests)
    said = {"type": "text", "text": "Oslo "}
    assert second["messages"] == [*first["messages"], {"role": "assistant", "content": [said, SEARCH]}]
    assert [block["text"] for block in third["messages"][-1]["content"][::2]] == ["Oslo ", "is "]


@streamed_or_not
async def test_an_answer_paused_for_ever_is_cut(harness: Harness, stream: bool) -> None:
    parts = [part("a", "pause_turn", stream=stream, message=f"msg_{number}") for number in range(9)]
    exchange = await ask(harness, *parts, stream=stream)
    assert (exchange.message["content"], exchange.choice["finish_reason"]) == ("aaaaa", "length")
    assert harness.fleet.anthropic.request_count == 5
    check_proof(exchange)


REFUSALS = {
    "refused": raw("application/json", b'{"type":"error","error":{"type":"invalid_request_error","message":"x"}}', 400),
    "cut": raw("text/event-stream", as_stream([start(USAGE, "msg_2")])),
    "no sense": raw("application/json", b"[]"),
}


@streamed_or_not
@pytest.mark.parametrize("why", [*REFUSALS, "another vendor's page"])
async def test_an_answer_that_cannot_go_on_is_one_that_was_cut(harness: Harness, why: str, stream: bool) -> None:
    """Output before the failed continuation is delivered and billed."""
    first = part("Oslo ", "pause_turn", stream=stream, message="msg_1")
    page = raw("text/html", b"<html>")
    exchange = await ask(harness, first, REFUSALS.get(why, page), stream=stream)
    assert (exchange.message["content"], exchange.choice["finish_reason"]) == ("Oslo ", "length")
    assert exchange.answer["usage"]["prompt_tokens"] == 100
    check_proof(exchange)
    assert (await harness.record(exchange)).estimated is None


async def test_a_second_part_that_breaks_off_breaks_the_stream(harness: Harness) -> None:
    told = as_stream([start(USAGE, "msg_2"), *text(0, "is")])
    first = part("Oslo ", "pause_turn", stream=True, message="msg_1")
    exchange = await ask(harness, first, raw("text/event-stream", told), stream=True)
    *chunks, last = events(exchange.raw)
    assert last["error"]["code"] == "upstream_truncated"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Oslo is"
    assert all(claim.verdict is not Verdict.PASS for claim in exchange.claims)


@streamed_or_not
async def test_a_pause_at_the_output_limit_is_the_end(harness: Harness, stream: bool) -> None:
    exchange = await ask(
        harness, part("Oslo", "pause_turn", stream=stream, message="msg_1"), stream=stream, max_tokens=20
    )
    assert (exchange.message["content"], exchange.choice["finish_reason"]) == ("Oslo", "length")
    assert harness.fleet.anthropic.request_count == 1


@streamed_or_not
async def test_without_a_search_nothing_is_asked_twice(harness: Harness, stream: bool) -> None:
    first = part("Oslo", "pause_turn", stream=stream, message="msg_1")
    exchange = await ask(harness, first, stream=stream, web_search_options=None)
    assert (exchange.message["content"], exchange.choice["finish_reason"]) == ("Oslo", "length")
    assert harness.fleet.anthropic.request_count == 1


async def test_every_prompt_of_a_list_goes_on_by_itself(harness: Harness) -> None:
    names = iter(range(9))
    parts = [
        part(words, reason, stream=False, message=f"msg_{next(names)}")
        for words, reason in (("a", "pause_turn"), ("b", "end_turn"), ("c", "pause_turn"), ("d", "end_turn"))
    ]
    harness.fleet.anthropic.enqueue(*parts)
    request = {"model": MODEL, "prompt": ["1", "2"], "web_search": True, "max_tokens": 100}
    exchange = await harness.ask(request, "/v1/completions")
    assert [choice["text"] for choice in exchange.answer["choices"]] == ["ab", "cd"]
    assert exchange.answer["usage"]["prompt_tokens"] == 400
    check_proof(exchange)
