"""A conversation with tools whose turns go to different vendors, through the unmodified ``openai`` package."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessage

from tests.conformance import outgoing
from tests.conformance.cases.tools import CITY, function
from tests.conformance.harness import Harness
from tools.simulators import Scenario, ToolCall

pytestmark = pytest.mark.asyncio(loop_scope="module")

TURNS = 5
TOOLS: Any = [function("weather", CITY), function("clock")]
CITIES = ("Oslo", "Rome", "Lima", "Bern", "Kyiv")

# For each turn, the model that answers the user and the model that gets the tool results: the same or the next one.
MODELS = ("gpt-5.2", "claude-sonnet-4-6", "gemini-3.5-flash", "claude-haiku-4-5", "gemini-2.5-flash", "gpt-4.1")
ROUTES = {
    "a model for every turn": [(model, model) for model in MODELS[:TURNS]],
    "another model for every request": [(MODELS[turn % 3], MODELS[(turn + 1) % 3]) for turn in range(TURNS)],
    "from Gemini to Claude and back": [
        ("gemini-3.5-flash", "claude-fable-5"),
        ("claude-fable-5", "gemini-3.5-flash"),
        ("gemini-3.1-pro-preview", "claude-opus-4-8"),
        ("claude-opus-4-5", "gemini-2.5-pro"),
        ("gpt-5", "claude-sonnet-4-0"),
    ],
    "to OpenAI from those whose ids of calls are longer than it takes": [
        ("grok-4.3", "gpt-5.2"),
        ("hermes-4-405b", "gpt-4.1"),
        ("seed-1.8", "grok-4.3"),
        ("gpt-5", "hermes-4-405b"),
        ("gpt-4.1", "seed-1.8"),
    ],
}

Memory = Callable[[ChatCompletionMessage], dict[str, Any]]


def keeps_everything(message: ChatCompletionMessage) -> dict[str, Any]:
    return message.model_dump(exclude_none=True)


def keeps_standard_keys(message: ChatCompletionMessage) -> dict[str, Any]:
    """Only what OpenAI documents: reasoning, signatures and all other extras are lost."""
    kept: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        kept["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
            if call.type == "function"
        ]
    return kept


@dataclass
class Conversation:
    """The client's side: every request carries the whole history."""

    harness: Harness
    client: AsyncOpenAI
    remember: Memory
    streamed: bool
    messages: list[Any] = field(default_factory=list)

    async def ask(self, model: str) -> ChatCompletionMessage:
        options: Any = {"reasoning_effort": "medium"} if model != "gpt-4.1" else {}
        request: Any = {"model": model, "messages": self.messages, "tools": TOOLS, "max_completion_tokens": 9000}
        if self.streamed:
            async with self.client.chat.completions.stream(**request, **options) as stream:
                message: ChatCompletionMessage = (await stream.get_final_completion()).choices[0].message
        else:
            message = (await self.client.chat.completions.create(**request, **options)).choices[0].message
        self.messages.append(self.remember(message))
        outgoing.check(self.harness.services.catalog.find(model).provider, self.harness.received(model))
        return message


@pytest.fixture
async def client(harness: Harness) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=harness.url + "/v1", api_key="anything", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("remember", [keeps_everything, keeps_standard_keys])
@pytest.mark.parametrize("route", ROUTES)
async def test_five_turns(harness: Harness, client: AsyncOpenAI, route: str, remember: Memory, streamed: bool) -> None:
    conversation = Conversation(harness, client, remember, streamed)
    for turn, (asked, told) in enumerate(ROUTES[route]):
        city, calls = CITIES[turn], 1 + turn % 2
        wanted = [ToolCall(name="weather", arguments={"city": city}), ToolCall(name="clock", arguments="")][:calls]
        harness.simulator(asked).enqueue(Scenario(reasoning="I need tools.", tool_calls=tuple(wanted)))
        conversation.messages.append({"role": "user", "content": f"What is it like in {city}?"})
        message = await conversation.ask(asked)
        assert message.tool_calls is not None
        found = [call for call in message.tool_calls if call.type == "function"]
        assert [json.loads(call.function.arguments) for call in found] == [{"city": city}, {}][:calls]
        for call in reversed(found):
            conversation.messages.append({"role": "tool", "tool_call_id": call.id, "content": f"{city}: fine"})
        harness.simulator(told).enqueue(Scenario(text=f"Fine in {city}.", reasoning="So it is fine."))
        assert (await conversation.ask(told)).content == f"Fine in {city}."
    assert len(conversation.messages) == sum(4 + turn % 2 for turn in range(TURNS))
    body = json.dumps(harness.received(ROUTES[route][-1][1]).json)
    assert all(f"{city}: fine" in body and f"Fine in {city}." in body for city in CITIES[:-1])
    for thought in ("I need tools.", "So it is fine."):
        assert f'"text": "{thought}"' not in body, "a foreign thought was sent as if it had been said"
