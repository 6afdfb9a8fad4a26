"""Every Anthropic and Google exchange of ../shared/transcripts, replayed through sockets (issue 3)."""

import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest

from tests.conformance import recorded_claude, recorded_gemini
from tests.conformance.harness import Exchange, Harness, check_proof, price
from tests.conformance.recorded import Recorded, load, recordings
from tools.simulators import RawReply, Scenario
from tools.simulators.transcripts import replay

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWERS = recordings("anthropic", errors=False) + recordings("google", errors=False)
if not ANSWERS:
    pytest.skip("../shared/transcripts is not here", allow_module_level=True)

# Recordings of models that the catalogue lacks are requested under a related model's name.
SIBLINGS = {"anthropic": "claude-haiku-4-5", "google": "gemini-3-flash-preview"}
SIBLING_OF = {"gemini-3.1-flash-lite-image": "gemini-3.1-flash-image"}
READERS: Mapping[str, ModuleType] = {"anthropic": recorded_claude, "google": recorded_gemini}
# A second message_start midway, and partial arguments: no complete answer is equivalent. Each with the arguments of its
# calls.
ONLY_AS_STREAM: dict[str, list[Any]] = {
    "anthropic/vai-spliced-message-start-chunks.json": [{"value": "Spark"}, {"value": "Sparkle Day"}],
    "google/vai-google-stream-no-args-tool-call-chunks.json": [{}, {"id": "A"}, {"id": "B"}, {"id": "C"}],
}


def model_for(harness: Harness, transcript: dict[str, Any]) -> str:
    name = SIBLING_OF.get(transcript["model"], transcript["model"] or "")
    known = harness.services.catalog.get(name)
    return known.id if known else SIBLINGS[transcript["provider"]]


def complete(transcript: dict[str, Any]) -> dict[str, Any]:
    """The recorded answer in the vendor's complete form."""
    answer: dict[str, Any] = (
        recorded_claude.message_of(transcript)
        if transcript["provider"] == "anthropic"
        else recorded_gemini.response_of(transcript)
    )
    return answer


def expected(transcript: dict[str, Any]) -> Recorded:
    recorded: Recorded = READERS[transcript["provider"]].read(complete(transcript))
    return recorded


async def hear(harness: Harness, transcript: dict[str, Any], scenario: Scenario, *, stream: bool) -> Exchange:
    model = model_for(harness, transcript)
    harness.simulator(model).enqueue(scenario)
    exchange = await harness.ask({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream})
    assert exchange.status == 200, exchange.raw[:500]
    return exchange


@pytest.mark.parametrize("piece", [None, 997])
@pytest.mark.parametrize("name", [name for name in ANSWERS if name not in ONLY_AS_STREAM])
async def test_answer_is_the_recorded_one(harness: Harness, name: str, piece: int | None) -> None:
    transcript = load(name)
    exchange = await hear(harness, transcript, replay(transcript, piece=piece), stream="body" in transcript["response"])
    check(exchange, expected(transcript))
    check_proof(exchange)
    record = await harness.record(exchange)
    if record.served_model is None:
        assert record.cost_usd == str(price(harness, model_for(harness, transcript), exchange.answer))


def check(exchange: Exchange, told: Recorded) -> None:
    message, usage = exchange.message, exchange.answer["usage"]
    assert (message["content"] or "") == told.content
    assert message.get("reasoning_content", "") == told.reasoning
    assert exchange.choice["finish_reason"] == told.finish
    calls = message.get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == [call["name"] for call in told.calls]
    for call, original in zip(calls, told.calls, strict=True):
        assert json.loads(call["function"]["arguments"]) == json.loads(original["arguments"])
        assert call["id"] == (original["id"] or call["id"])
    assert len({call["id"] for call in calls}) == len(calls)
    details = message.get("reasoning_details", [])
    assert [sealed for each in details if (sealed := each.get("signature") or each.get("data"))] == told.seals
    assert message.get("images", []) == told.images
    assert told.usage == (
        usage["prompt_tokens"],
        usage["prompt_tokens_details"]["cached_tokens"],
        usage["completion_tokens"],
        usage["completion_tokens_details"]["reasoning_tokens"],
    )
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("name", [name for name in ANSWERS if name not in ONLY_AS_STREAM])
async def test_streamed_equals_not_streamed(harness: Harness, name: str) -> None:
    """The same answer in both of the vendor's forms gives the same message, usage and signed output."""
    transcript = load(name)
    answer = complete(transcript)
    stream = READERS[transcript["provider"]].events_for(answer)
    whole = await hear(harness, transcript, raw("application/json", json.dumps(answer).encode()), stream=False)
    streamed = await hear(harness, transcript, raw("text/event-stream", stream), stream=True)
    assert streamed.message == whole.message
    assert streamed.answer["usage"] == whole.answer["usage"]
    assert streamed.answer["tee_output_hash"] == whole.answer["tee_output_hash"]


def raw(content_type: str, body: bytes) -> Scenario:
    return Scenario(raw=RawReply(headers=(("content-type", content_type),), chunks=(body,)))


@pytest.mark.parametrize("piece", [None, 13])
@pytest.mark.parametrize("name", ONLY_AS_STREAM)
async def test_answer_that_exists_as_a_stream_only(harness: Harness, name: str, piece: int | None) -> None:
    exchange = await hear(harness, load(name), replay(load(name), piece=piece), stream=True)
    calls = exchange.message["tool_calls"]
    assert len({call["id"] for call in calls}) == len(calls)
    assert [json.loads(call["function"]["arguments"]) for call in calls] == ONLY_AS_STREAM[name]
    assert exchange.choice["finish_reason"] == "tool_calls"
    check_proof(exchange)


MEANINGS = {
    "anthropic/issue-midstream-overloaded.json": (503, "upstream_overloaded"),
    "anthropic/pai-anthropic-explicit-effort-xhigh-unsupported-model-errors.json": (400, None),
    "anthropic/rbl-chat-error-handling-with-anthropic-claude-haiku-4-5-raises-appropriate-auth-error.json": (
        502,
        "upstream_auth_failed",
    ),
    "anthropic/rbl-chat-real-error-scenarios-anthropic-claude-haiku-4-5-handles-context-length-exceeded-errors.json": (
        400,
        "context_length_exceeded",
    ),
    "google/issue-429-resource-exhausted.json": (429, "rate_limit_exceeded"),
    "google/issue-503-high-demand.json": (503, "upstream_overloaded"),
    "google/rbl-chat-error-handling-with-gemini-gemini-2-5-flash-raises-appropriate-auth-error.json": (
        502,
        "upstream_auth_failed",
    ),
    "google/vai-google-429-retry-info-json.json": (429, "rate_limit_exceeded"),
}
ERRORS = recordings("anthropic", errors=True) + recordings("google", errors=True)
AFTER_THE_END = "google/issue-midstream-503-after-stop.json"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", sorted({*ERRORS} - {AFTER_THE_END}))
async def test_error_means_what_it_meant(harness: Harness, name: str, stream: bool) -> None:
    transcript = load(name)
    stream |= "body" in transcript["response"]
    model = model_for(harness, transcript)
    harness.simulator(model).enqueue(*[replay(transcript)] * 3)
    exchange = await harness.ask({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream})
    assert (exchange.status, exchange.error["code"]) == MEANINGS[name]


async def test_an_error_after_the_end_of_an_answer_is_ignored(harness: Harness) -> None:
    """Google sends them between frames, unframed (facts/providers.md 5.8)."""
    transcript = load(AFTER_THE_END)
    exchange = await hear(harness, transcript, replay(transcript, piece=11), stream=True)
    assert exchange.choice["finish_reason"] == "stop"
    check_proof(exchange)


async def test_how_long_google_says_to_wait(harness: Harness) -> None:
    transcript = load("google/vai-google-429-retry-info-json.json")
    harness.fleet.google.enqueue(replay(transcript))
    exchange = await harness.ask({"model": "gemini-3.5-flash", "messages": [{"role": "user", "content": "Hi"}]})
    [delay] = [detail["retryDelay"] for detail in transcript["response"]["json"]["error"]["details"][-1:]]
    assert float(exchange.headers["retry-after-ms"]) == pytest.approx(float(delay.removesuffix("s")) * 1000)
