"""``POST /v1/completions`` on every vendor's chat models (facts/providers.md 1.7)."""

import json
from typing import Any

import pytest

from tests.conformance.harness import Exchange, Harness, check_proof
from tests.conformance.targets import CHAT_TARGETS, PICTURE_TARGETS, Target
from tests.event_streams import events
from tools.simulators import Scenario

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/completions"
every_target = pytest.mark.parametrize("target", CHAT_TARGETS, ids=lambda target: target.model)
both_forms = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def texts(exchange: Exchange) -> tuple[list[str], dict[str, Any]]:
    """The text of every choice, and the object that carries usage and signature."""
    if not exchange.headers["Content-Type"].startswith("text/event-stream"):
        answer = json.loads(exchange.raw)
        return [choice["text"] for choice in answer["choices"]], answer
    found: dict[int, str] = {}
    chunks = events(exchange.raw)
    for chunk in chunks:
        for choice in chunk["choices"]:
            found[choice["index"]] = found.get(choice["index"], "") + choice["text"]
    return [found[index] for index in sorted(found)], chunks[-1]


def said(text: str) -> Scenario:
    return Scenario(text=text, reasoning="", prompt_tokens=20, completion_tokens=4, reasoning_tokens=0)


@both_forms
@every_target
async def test_one_prompt(harness: Harness, target: Target, stream: bool) -> None:
    harness.simulator(target.model).enqueue(said("upon a time"))
    exchange = await harness.ask({"model": target.model, "prompt": "Once", "max_tokens": 50, "stream": stream}, PATH)
    assert exchange.status == 200, exchange.raw
    [text], answer = texts(exchange)
    assert (text, answer["completion"], answer["object"]) == ("upon a time", "upon a time", "text_completion")
    assert answer["usage"]["total_tokens"] == 24
    check_proof(exchange)


@both_forms
@every_target
async def test_a_list_of_prompts(harness: Harness, target: Target, stream: bool) -> None:
    """One upstream call and one choice per prompt, one signature over all, usage summed."""
    harness.simulator(target.model).enqueue(said("eins"), said("zwei"))
    request = {"model": target.model, "prompt": ["one", "two"], "max_tokens": 50, "stream": stream, "echo": True}
    exchange = await harness.ask(request, PATH)
    assert exchange.status == 200, exchange.raw
    found, answer = texts(exchange)
    assert found == ["oneeins", "twozwei"]
    assert answer["usage"]["total_tokens"] == 48
    check_proof(exchange)


@every_target
async def test_what_chat_models_cannot_do(harness: Harness, target: Target) -> None:
    impossible: dict[str, Any] = {"suffix": "end", "logprobs": 3, "best_of": 2}
    for param, value in impossible.items():
        exchange = await harness.ask({"model": target.model, "prompt": "Once", param: value}, PATH)
        assert (exchange.status, exchange.error["param"]) == (400, param)


@both_forms
@pytest.mark.parametrize("target", PICTURE_TARGETS, ids=lambda target: target.model)
async def test_pictures_are_refused_before_anybody_draws(harness: Harness, target: Target, stream: bool) -> None:
    """A legacy answer cannot carry images, so they would be paid for and lost."""
    drawn = len(harness.simulator(target.model).requests)
    exchange = await harness.ask({"model": target.model, "prompt": "A cat", "stream": stream}, PATH)
    assert (exchange.status, exchange.error["param"], exchange.error["code"]) == (400, "model", "unsupported_value")
    assert "/v1/chat/completions" in exchange.error["message"]
    assert len(harness.simulator(target.model).requests) == drawn


async def test_what_is_wrong_with_the_messages_is_told_of_the_prompt(harness: Harness) -> None:
    exchange = await harness.ask({"model": "claude-haiku-4-5", "prompt": ""}, PATH)
    assert (exchange.status, exchange.error["param"]) == (400, "prompt")
    harness.simulator("gpt-4.1").enqueue(Scenario(error="context_length"))
    exchange = await harness.ask({"model": "gpt-4.1", "prompt": "Once"}, PATH)
    assert (exchange.status, exchange.error["param"], exchange.error["code"]) == (
        400,
        "prompt",
        "context_length_exceeded",
    )
