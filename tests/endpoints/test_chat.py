"""Chat completions end to end: forwarded, answered and signed."""

import json
import re
from typing import Any

import pytest

from tests.running_gateway import RunningGateway

HI = {"role": "user", "content": "Hi"}
CALLING = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
BROKEN_CALL = CALLING | {"function_call": {"name": "f", "arguments": "{"}}
RESULT = {"role": "function", "name": "f", "content": "x"}


@pytest.mark.parametrize("model", ["gpt-5", "grok-4.3", "seed-1.6", "hermes-4-70b"])
async def test_answers(gateway: RunningGateway, model: str) -> None:
    response = await gateway.chat(model, "Hello there")
    assert response.status == 200
    body = await response.json()
    assert body["choices"][0]["message"]["content"] == "You said: Hello there"


async def test_openrouters_reasoning_is_an_effort(gateway: RunningGateway) -> None:
    reasoning = {"effort": "high", "enabled": True}
    assert (await gateway.chat("claude-sonnet-4-6", "Hi", reasoning=reasoning)).status == 200
    assert gateway.fleet is not None
    assert gateway.fleet.anthropic.requests[-1].json["output_config"] == {"effort": "high"}
    error = (await (await gateway.chat("gpt-4.1", "Hi", reasoning=reasoning)).json())["error"]
    assert error["param"] == "reasoning.effort"
    refused = await gateway.chat("gpt-5", "Hi", reasoning=reasoning, tool_choice="auto")
    assert (await refused.json())["error"]["param"] == "tool_choice"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"functions": [{"name": 5}]}, "functions[0].name"),
        ({"functions": [{"name": "f"}, {"name": "a b"}]}, "functions[1].name"),
        ({"functions": [{"name": "f"}, {"name": "f"}]}, "functions[1].name"),
        ({"functions": [{"name": f"f{number}"} for number in range(129)]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call.name"),
        (
            {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": {}}}]},
            "messages[0].function_call.arguments",
        ),
        ({"messages": [HI, CALLING, HI]}, "messages[1].function_call"),
        ({"messages": [HI, {"role": "function", "name": "f", "content": "x"}]}, "messages[1].role"),
        ({"model": "gemini-2.5-flash-image", "functions": [{"name": "f"}]}, "functions"),
        ({"model": "claude-haiku-4-5", "messages": [HI, BROKEN_CALL, RESULT]}, "messages[1].function_call.arguments"),
        (
            {"model": "claude-haiku-4-5", "functions": [{"name": "f", "parameters": {"type": "string"}}]},
            "functions[0].parameters.type",
        ),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ],
)
async def test_errors_about_retired_functions_use_the_callers_words(
    gateway: RunningGateway, changes: dict[str, Any], param: str
) -> None:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}], **changes}
    response = await gateway.post("/v1/chat/completions", body)
    error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, param)
    assert "tools" in changes or not re.search(r"tools|tool_c", error["message"])


@pytest.mark.parametrize("choice", [{}, {"tool_choice": "auto"}, {"tool_choice": "required"}])
async def test_gemini_searches_beside_functions(gateway: RunningGateway, choice: dict[str, Any]) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    body: dict[str, Any] = {"model": "gemini-3.1-pro-preview", "tools": [tool], "web_search": True, **choice}
    asked = {"role": "user", "content": "What is the weather in Oslo?"}
    response = await gateway.post("/v1/chat/completions", body | {"messages": [asked]})
    assert response.status == 200
    called = (await response.json())["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "Sunny"}
    response = await gateway.post("/v1/chat/completions", body | {"messages": [asked, called, result]})
    assert response.status == 200


@pytest.mark.parametrize(
    ("language", "options", "expected"),
    [
        ("java", None, {"finish_reason"}),
        ("java", {"include_usage": True}, {"usage"}),
        ("js", None, {"finish_reason", "usage"}),
        (None, None, {"finish_reason", "usage"}),
    ],
)
async def test_openais_java_sdk_gets_usage_on_request_only(
    gateway: RunningGateway, language: str | None, options: dict[str, bool] | None, expected: set[str]
) -> None:
    """Its ChatCompletionAccumulator passes over the choices of an event that has usage."""
    body = {"model": "gpt-5", "messages": [HI], "stream": True, "stream_options": options}
    headers = {} if language is None else {"X-Stainless-Lang": language}
    response = await gateway.post("/v1/chat/completions", body, headers=headers)
    *_, last, done = (await response.text()).strip().split("\n\n")
    assert done == "data: [DONE]"
    event = json.loads(last.removeprefix("data: "))
    assert "tee_signature" in event
    found = {"usage"} & event.keys() | {"finish_reason" for choice in event["choices"] if choice["finish_reason"]}
    assert found == expected
