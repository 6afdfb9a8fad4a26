"""Run every conformance case against every vendor, streamed and not (issue 3, item 7).

Each answer is compared with the scripted one, its signature verified, its usage summed and priced, and the request
that the vendor received is checked against the vendor's own SDK.
"""

import json
from typing import Any

import pytest

from tests.conformance import outgoing
from tests.conformance.cases import endings, files, structured, text, thinking, tools
from tests.conformance.cases.case import Case
from tests.conformance.harness import Harness, check_proof, price
from tests.conformance.targets import CHAT_TARGETS, Target

pytestmark = pytest.mark.asyncio(loop_scope="module")

CASES = (
    *text.CASES,
    *endings.CASES,
    *thinking.CASES,
    *tools.CASES,
    *structured.CASES,
    *files.CASES,
)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("target", CHAT_TARGETS, ids=lambda target: target.model)
async def test_case(harness: Harness, target: Target, case: Case, stream: bool) -> None:
    simulator = harness.simulator(target.model)
    simulator.enqueue(case.scenario)
    exchange = await harness.ask(case.request(target.model, stream=stream))
    if (param := target.find(case.refused, stream=stream)) is not None:
        assert exchange.status == 400, exchange.raw
        assert (exchange.error["param"], exchange.error["type"]) == (param, "invalid_request_error")
        return
    assert exchange.status == 200, exchange.raw
    check_answer(exchange.answer, case, target)
    check_usage(exchange.answer["usage"], case, target)
    check_proof(exchange)
    if stream:
        check_lines(exchange.raw)
    assert exchange.headers.get("x-dropped-params") == target.find(case.dropped, stream=stream)
    [received] = simulator.requests
    outgoing.check(target.provider, received)
    check_arrival(received.json, case, target)
    assert (await harness.record(exchange)).cost_usd == str(price(harness, target.model, exchange.answer))


def check_answer(answer: dict[str, Any], case: Case, target: Target) -> None:
    finish = case.finishes.get(target.provider, case.finish)
    assert [choice["index"] for choice in answer["choices"]] == list(range(len(case.texts)))
    for choice, expected in zip(answer["choices"], case.texts, strict=True):
        message = choice["message"]
        assert choice["finish_reason"] == finish
        assert message["role"] == "assistant"
        assert message["refusal"] == case.refusals.get(target.provider)
        if case.check is not None:
            case.check(message)
        else:
            bare = not expected and (case.calls or message["refusal"])
            assert message["content"] == (None if bare else expected)
        check_calls(message.get("tool_calls", []), case)
        if case.thoughts is not None:
            thoughts = case.thoughts if target.shows_thoughts else ""
            assert message.get("reasoning_content", "").strip() == thoughts
    assert answer["model"] == target.model


def check_calls(calls: list[dict[str, Any]], case: Case) -> None:
    assert [call["function"]["name"] for call in calls] == [call.name for call in case.calls]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [call.arguments for call in case.calls]
    assert len({call["id"] for call in calls}) == len(calls)
    assert all(call["id"] and call["type"] == "function" for call in calls)


def check_usage(usage: dict[str, Any], case: Case, target: Target) -> None:
    """The scenario's counts in OpenAI's convention, whatever the vendor's own is (facts/providers.md 1.4)."""
    told = case.scenario
    assert told.prompt_tokens is not None
    assert told.completion_tokens is not None
    assert usage["prompt_tokens"] == told.prompt_tokens
    assert usage["completion_tokens"] == told.completion_tokens + (told.reasoning_tokens or 0)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == told.cached_tokens
    written = told.cache_write_tokens if target.provider in ("openai", "anthropic") else 0
    assert usage["prompt_tokens_details"].get("cache_write_tokens", 0) == written
    reasoning = told.reasoning_tokens if target.provider != "nous" else 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] == reasoning


def check_lines(stream: bytes) -> None:
    """One event is one line, also for clients that split lines at Unicode line separators."""
    assert all(line.startswith("data: ") for line in stream.decode().splitlines() if line)


def check_arrival(body: Any, case: Case, target: Target) -> None:
    sent = list(outgoing.strings(body))
    for wanted in case.arrives_as.get(target.provider, case.arrives):
        assert any(wanted in text for text in sent), f"{wanted[:80]!r} did not arrive"
