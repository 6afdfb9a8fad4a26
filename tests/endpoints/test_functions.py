"""Callers of OpenAI's legacy ``functions`` find the call in ``function_call``, streamed or not."""

from typing import Any

import pytest
from openai.lib.streaming._deltas import accumulate_delta

from tests.event_streams import events
from tests.running_gateway import RunningGateway

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "parameters": PARAMETERS}
ASKED = {"role": "user", "content": "What is the weather in Oslo?"}
MODELS = ["gpt-4.1", "claude-sonnet-4-6", "gemini-3.5-flash", "grok-4.3", "seed-1.8", "hermes-4-70b"]


async def ask(gateway: RunningGateway, model: str, *messages: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    """The message of the answer."""
    body = {"model": model, "messages": [ASKED, *messages], "functions": [WEATHER], **parameters}
    response = await gateway.post("/v1/chat/completions", body)
    assert response.status == 200
    if not parameters.get("stream"):
        [choice] = (await response.json())["choices"]
        assert choice["finish_reason"] == ("tool_calls" if "tool_calls" in choice["message"] else "stop")
        return dict(choice["message"])
    message: dict[Any, Any] = {}
    for event in events(await response.read()):
        accumulate_delta(message, event["choices"][0]["delta"])
    return message


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_is_told_in_both_forms(gateway: RunningGateway, model: str, stream: bool) -> None:
    message = await ask(gateway, model, function_call={"name": "weather"}, stream=stream)
    assert message["function_call"].keys() == {"name", "arguments"}
    assert message["function_call"] == message["tool_calls"][0]["function"]


@pytest.mark.parametrize("model", MODELS)
async def test_it_is_answered_in_either(gateway: RunningGateway, model: str) -> None:
    called = await ask(gateway, model, function_call={"name": "weather"})
    old = {"role": "function", "name": "weather", "content": "Sunny"}
    new = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "Sunny"}
    for result in (old, new):
        assert "function_call" not in await ask(gateway, model, called, result)


async def test_tools_are_called_in_the_new_form_alone(gateway: RunningGateway) -> None:
    parameters = {"functions": None, "tools": [{"type": "function", "function": WEATHER}], "tool_choice": "required"}
    for stream in (False, True):
        message = await ask(gateway, "gpt-4.1", stream=stream, **parameters)
        assert "tool_calls" in message
        assert "function_call" not in message
