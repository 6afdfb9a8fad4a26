"""Reasoning that belongs to tool calls, replayed by clients that keep it and lost by clients that drop it.

The simulated vendors check every signature and its position (facts/providers.md 3.8, 5.6).
"""

from typing import Any

import pytest

from tests.conformance import outgoing
from tests.conformance.cases.case import user
from tests.conformance.cases.tools import TOOLS, result
from tests.conformance.harness import Exchange, Harness, check_proof
from tests.conformance.targets import CHAT_TARGETS, Target
from tools.simulators import Scenario, ToolCall
from tools.simulators.gemini.models import MODELS as GEMINI

pytestmark = pytest.mark.asyncio(loop_scope="module")

STANDARD = ("role", "content", "tool_calls")
THOUGHT = "I need the weather twice."
QUESTION = user("Weather in Oslo and Rome?")
CALLS = (ToolCall(name="weather", arguments={"city": "Oslo"}), ToolCall(name="weather", arguments={"city": "Rome"}))
THINKING = [target for target in CHAT_TARGETS if target.model != "gpt-4.1"]


def everything(message: dict[str, Any]) -> dict[str, Any]:
    return message


def standard_keys(message: dict[str, Any]) -> dict[str, Any]:
    """The message as kept by a client that knows only OpenAI's keys."""
    calls = [{key: call[key] for key in ("id", "type", "function")} for call in message["tool_calls"]]
    return {key: message[key] for key in STANDARD} | {"tool_calls": calls}


def reformatted(message: dict[str, Any]) -> dict[str, Any]:
    """The message with its arguments serialized anew, as clients do that keep them as objects."""
    kept = standard_keys(message)
    for call in kept["tool_calls"]:
        call["function"] = call["function"] | {"arguments": call["function"]["arguments"].replace(":", " : ")}
    return kept


async def ask(harness: Harness, target: Target, messages: list[dict[str, Any]], *, stream: bool) -> Exchange:
    request = {"model": target.model, "messages": messages, "stream": stream, "reasoning_effort": "medium"}
    exchange = await harness.ask({**request, "max_completion_tokens": 8000, **TOOLS})
    assert exchange.status == 200, exchange.raw
    check_proof(exchange)
    outgoing.check(target.provider, harness.received(target.model))
    return exchange


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("keep", [everything, standard_keys, reformatted])
@pytest.mark.parametrize("redacted", [False, True], ids=["open", "redacted"])
@pytest.mark.parametrize("target", THINKING, ids=lambda target: target.model)
async def test_two_rounds_of_calls(harness: Harness, target: Target, redacted: bool, keep: Any, stream: bool) -> None:
    simulator = harness.simulator(target.model)
    thinking = Scenario(reasoning=THOUGHT, redacted=redacted, tool_calls=CALLS)
    simulator.enqueue(thinking, thinking, Scenario(text="4 and 17."))
    messages = [QUESTION]
    for _ in range(2):
        message = (await ask(harness, target, messages, stream=stream)).message
        messages += [keep(message), *(result(call["id"], "4 C") for call in message["tool_calls"])]
    answer = await ask(harness, target, messages, stream=stream)
    assert answer.message["content"] == "4 and 17."
    check_replay(harness.received(target.model).json, target, rounds=2, kept=keep is everything)


def check_replay(body: dict[str, Any], target: Target, *, rounds: int, kept: bool) -> None:
    """Check the reasoning that the vendor received back."""
    match target.provider:
        case "anthropic":
            turns = [turn["content"] for turn in body["messages"] if turn["role"] == "assistant"]
            assert [turn[0]["type"] in ("thinking", "redacted_thinking") for turn in turns] == [True] * rounds
        case "google":
            turns = [turn["parts"] for turn in body["contents"] if turn["role"] == "model"]
            signed = [turn[0].get("thoughtSignature", "") for turn in turns]
            assert len(signed) == rounds
            assert all(signed)
            assert "skip_thought_signature_validator" not in signed
        case "bytedance":
            turns = [turn for turn in body["messages"] if turn["role"] == "assistant"]
            assert [turn.get("reasoning_content") for turn in turns] == [THOUGHT if kept else None] * rounds
        case _:
            assert THOUGHT not in str(body)


STRANGER = {
    "role": "assistant",
    "content": None,
    "reasoning_content": "Elsewhere thought.",
    "reasoning_details": [{"type": "reasoning.encrypted", "data": "c2VhbA==", "format": "other-v1", "index": 0}],
    "tool_calls": [{"id": "x|1.fc:2", "type": "function", "function": {"name": "clock", "arguments": ""}}],
}


@pytest.mark.parametrize("target", THINKING, ids=lambda target: target.model)
async def test_calls_that_somebody_else_made(harness: Harness, target: Target) -> None:
    """Their reasoning is unknown: the request takes the form that the vendor accepts without it."""
    exchange = await ask(harness, target, [QUESTION, STRANGER, result("x|1.fc:2", "12:00")], stream=False)
    assert exchange.message["content"] == "The tools answered: 12:00"
    if target.provider != "bytedance":
        assert "Elsewhere thought." not in str(harness.received(target.model).json)


@pytest.mark.parametrize(
    ("model", "successor"), [("gemini-2.5-flash", "gemini-3.5-flash-lite"), ("gemini-2.5-pro", "gemini-3.8-flash")]
)
async def test_calls_that_somebody_else_made_before_a_successor_that_answers(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, model: str, successor: str
) -> None:
    """Google's routing from 2026-12-01 on (facts/providers.md 0), to models that refuse calls without a signature."""
    monkeypatch.setitem(GEMINI, model, GEMINI[successor])
    messages = [QUESTION, STRANGER, result("x|1.fc:2", "12:00")]
    exchange = await ask(harness, Target(model, "google"), messages, stream=False)
    assert exchange.answer["model"] == successor
