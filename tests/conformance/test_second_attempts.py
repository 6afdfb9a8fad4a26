"""Retries of upstream calls that fail before any output was forwarded (facts/providers.md 1.6, 5.7)."""

import json
from dataclasses import replace

import pytest

from tests.conformance.folding import events
from tests.conformance.stage import Heard, Stage
from tests.conformance.test_cases import check_proof
from tools.simulators import RawReply, Scenario
from tools.simulators.scenario import ErrorKind

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODELS = ("gpt-4.1", "grok-4.3", "seed-1.8", "hermes-4-405b", "claude-sonnet-4-6", "gemini-2.5-flash")
GOOD = Scenario(text="There.", reasoning="", prompt_tokens=7, completion_tokens=2, reasoning_tokens=0)
AT_ONCE = Scenario(error_after=0, error="overloaded")
every_model = pytest.mark.parametrize("model", MODELS)


async def ask(stage: Stage, model: str, *scenarios: Scenario, stream: bool = True) -> Heard:
    stage.simulator(model).enqueue(*scenarios)
    return await stage.ask({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream})


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
async def test_an_error_in_place_of_the_first_words_is_not_seen(stage: Stage, model: str, kind: ErrorKind) -> None:
    """The caller pays for the answer that was delivered."""
    heard = await ask(stage, model, replace(AT_ONCE, error=kind), GOOD)
    assert (heard.status, heard.message["content"]) == (200, "There.")
    assert (heard.answer["usage"]["prompt_tokens"], heard.answer["usage"]["completion_tokens"]) == (7, 2)
    assert stage.simulator(model).request_count == 2
    assert (await stage.record(heard)).estimated is None
    check_proof(heard)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE"])
async def test_an_answer_that_a_model_could_not_write_is_not_seen(stage: Stage, reason: str, stream: bool) -> None:
    heard = await ask(stage, "gemini-2.5-flash", broken(reason, stream=stream), GOOD, stream=stream)
    assert heard.message["content"] == "There."
    assert heard.answer["usage"]["prompt_tokens"] == 7
    assert stage.fleet.google.request_count == 2


@every_model
async def test_the_second_error_is_told(stage: Stage, model: str) -> None:
    heard = await ask(stage, model, AT_ONCE, replace(AT_ONCE, error="server_error"))
    assert (heard.status, heard.error["code"]) == (502, "upstream_error")
    assert stage.simulator(model).request_count == 2


@every_model
async def test_what_was_forwarded_is_not_said_again(stage: Stage, model: str) -> None:
    scenario = Scenario(text="word " * 900, reasoning="", error="overloaded", error_after=5, event_delay=0.001)
    heard = await ask(stage, model, scenario, GOOD)
    assert (heard.status, events(heard.raw)[-1]["error"]["code"]) == (200, "upstream_overloaded")
    assert stage.simulator(model).request_count == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_with_status_200_is_one_of_these(stage: Stage, stream: bool) -> None:
    """facts/providers.md 6.4"""
    unavailable = Scenario(error="overloaded", status=200)
    heard = await ask(stage, "grok-4.3", unavailable, GOOD, stream=stream)
    assert heard.message["content"] == "There."
    assert stage.fleet.xai.request_count == 2


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
async def test_what_will_not_pass_is_told_at_once(stage: Stage, scenario: Scenario, code: str) -> None:
    heard = await ask(stage, "claude-sonnet-4-6", scenario, GOOD)
    assert heard.error["code"] == code
    assert stage.fleet.anthropic.request_count == 1


async def test_a_list_of_prompts_does_not_start_anew(stage: Stage) -> None:
    stage.fleet.openai.enqueue(replace(GOOD, text="One."), AT_ONCE, replace(GOOD, text="Two."))
    request = {"model": "gpt-4.1", "prompt": ["a", "b"], "stream": True}
    heard = await stage.ask(request, "/v1/completions")
    texts = ["", ""]
    for line in heard.raw.splitlines():
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                texts[choice["index"]] += choice["text"]
    assert texts == ["One.", "Two."]
    assert stage.fleet.openai.request_count == 3
    check_proof(heard)
