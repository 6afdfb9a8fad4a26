"""Retries of upstream calls that fail before any output was forwarded (facts/providers.md 1.6, 5.7)."""

import json
from dataclasses import replace

import pytest

from tests.conformance.harness import Exchange, Harness, check_proof
from tests.event_streams import events
from tools.simulators import RawReply, Scenario
from tools.simulators.scenario import ErrorKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = ("gpt-4.1", "grok-4.3", "seed-1.8", "hermes-4-405b", "claude-sonnet-4-6", "gemini-2.5-flash")
GOOD = Scenario(text="There.", reasoning="", prompt_tokens=7, completion_tokens=2, reasoning_tokens=0)
AT_ONCE = Scenario(error_after=0, error="overloaded")
every_model = pytest.mark.parametrize("model", MODELS)


async def ask(harness: Harness, model: str, *scenarios: Scenario, stream: bool = True) -> Exchange:
    harness.simulator(model).enqueue(*scenarios)
    return await harness.ask({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream})


def broken(reason: str, *, stream: bool) -> Scenario:
    usage = {"promptTokenCount": 900, "candidatesTokenCount": 90}
    body = json.dumps({"candidates": [{"finishReason": reason, "index": 0}], "usageMetadata": usage}).encode()
    if stream:
        return Scenario(
            raw=RawReply(headers=(("content-type", "text/event-stream"),), chunks=(b"data: %b\n\n" % body,))
        )
    return Scenario(raw=RawReply(headers=(("content-type", "application/json"),), chunks=(body,)))


@every_model
@pytest.mark.parametrize("kind", ["overloaded", "server_error", "rate_limit"])
async def test_an_error_in_place_of_the_first_words_is_not_seen(harness: Harness, model: str, kind: ErrorKind) -> None:
    """The caller pays for the answer that was delivered."""
    exchange = await ask(harness, model, replace(AT_ONCE, error=kind), GOOD)
    assert (exchange.status, exchange.message["content"]) == (200, "There.")
    assert (exchange.answer["usage"]["prompt_tokens"], exchange.answer["usage"]["completion_tokens"]) == (7, 2)
    assert harness.simulator(model).request_count == 2
    assert (await harness.record(exchange)).estimated is None
    check_proof(exchange)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE"])
async def test_an_answer_that_a_model_could_not_write_is_not_seen(harness: Harness, reason: str, stream: bool) -> None:
    exchange = await ask(harness, "gemini-2.5-flash", broken(reason, stream=stream), GOOD, stream=stream)
    assert exchange.message["content"] == "There."
    assert exchange.answer["usage"]["prompt_tokens"] == 7
    assert harness.fleet.google.request_count == 2


@every_model
async def test_the_second_error_is_told(harness: Harness, model: str) -> None:
    exchange = await ask(harness, model, AT_ONCE, replace(AT_ONCE, error="server_error"))
    assert (exchange.status, exchange.error["code"]) == (502, "upstream_error")
    assert harness.simulator(model).request_count == 2


@every_model
async def test_what_was_forwarded_is_not_said_again(harness: Harness, model: str) -> None:
    scenario = Scenario(text="word " * 900, reasoning="", error="overloaded", error_after=5, event_delay=0.001)
    exchange = await ask(harness, model, scenario, GOOD)
    assert (exchange.status, events(exchange.raw)[-1]["error"]["code"]) == (200, "upstream_overloaded")
    assert harness.simulator(model).request_count == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_with_status_200_is_one_of_these(harness: Harness, stream: bool) -> None:
    """facts/providers.md 6.4"""
    unavailable = Scenario(error="overloaded", status=200)
    exchange = await ask(harness, "grok-4.3", unavailable, GOOD, stream=stream)
    assert exchange.message["content"] == "There."
    assert harness.fleet.xai.request_count == 2


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        (Scenario(text="x", reasoning="", cut_after=0), "upstream_truncated"),
        (Scenario(error_after=0, error="context_length"), "context_length_exceeded"),
        (Scenario(error_after=0, error="bad_key"), "upstream_auth_failed"),
        (Scenario(garbage_at=0), "upstream_bad_response"),
    ],
    ids=["cut", "too long", "key", "garbage"],
)
async def test_what_will_not_pass_is_told_at_once(harness: Harness, scenario: Scenario, code: str) -> None:
    exchange = await ask(harness, "claude-sonnet-4-6", scenario, GOOD)
    assert exchange.error["code"] == code
    assert harness.fleet.anthropic.request_count == 1


async def test_a_list_of_prompts_does_not_start_anew(harness: Harness) -> None:
    harness.fleet.openai.enqueue(replace(GOOD, text="One."), AT_ONCE, replace(GOOD, text="Two."))
    request = {"model": "gpt-4.1", "prompt": ["a", "b"], "stream": True}
    exchange = await harness.ask(request, "/v1/completions")
    texts = ["", ""]
    for line in exchange.raw.splitlines():
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                texts[choice["index"]] += choice["text"]
    assert texts == ["One.", "Two."]
    assert harness.fleet.openai.request_count == 3
    check_proof(exchange)
