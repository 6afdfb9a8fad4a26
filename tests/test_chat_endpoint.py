"""The main job end to end: a chat goes through the gateway and comes back signed."""

import re
from typing import Any

import pytest

from tests.running import RunningGateway

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
