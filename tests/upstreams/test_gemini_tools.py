"""Tools, tool choice and web search for Gemini (facts/providers.md 5.2)."""

from typing import Any

import pytest

from tests.upstreams.gemini_chats import (
    FLASH,
    FLASH_3,
    HELLO,
    SCHEMA_FORMAT,
    WEATHER,
    WEATHER_SCHEMA,
    adapter,
    chat,
    sent,
    tool,
)


def test_gemini_takes_more_tools_than_openai() -> None:
    [declared] = sent(chat(FLASH, tools=[tool(f"t{number}") for number in range(512)]))["tools"]
    assert len(declared["functionDeclarations"]) == 512


def test_tools_are_declared_with_json_schema() -> None:
    strict = tool("b", {"type": "object", "properties": {"x": {"const": 1}}}, description="B.", strict=False)
    body = sent(chat(FLASH, tools=[WEATHER, strict, tool("now"), tool("then", {"type": "object", "properties": {}})]))
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "parametersJsonSchema": WEATHER_SCHEMA},
                {
                    "name": "b",
                    "description": "B.",
                    "parametersJsonSchema": {"type": "object", "properties": {"x": {"type": "integer", "enum": [1]}}},
                },
                {"name": "now"},
                {"name": "then"},
            ]
        }
    ]
    assert "toolConfig" not in body


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    ("choice", "strict", "expected"),
    [
        ("auto", False, {"mode": "AUTO"}),
        ("auto", True, {"mode": "VALIDATED"}),
        (None, True, {"mode": "VALIDATED"}),
        ("none", True, {"mode": "NONE"}),
        ("required", True, {"mode": "ANY"}),
        ("validated", False, {"mode": "VALIDATED"}),
        (named("a"), False, {"mode": "ANY", "allowedFunctionNames": ["a"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("a"), named("b")]}},
            False,
            {"mode": "ANY", "allowedFunctionNames": ["a", "b"]},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("b")]}},
            False,
            {"mode": "VALIDATED", "allowedFunctionNames": ["b"]},
        ),
    ],
)
def test_tool_choice(choice: Any, strict: bool, expected: dict[str, Any]) -> None:
    tools = [tool("a", WEATHER_SCHEMA, strict=strict), tool("b")]
    body = sent(chat(FLASH, tools=tools, tool_choice=choice))
    assert body["toolConfig"] == {"functionCallingConfig": expected}


def test_a_tool_choice_without_tools_that_forces_nothing() -> None:
    assert "toolConfig" not in sent(chat(FLASH, tool_choice="none"))
    assert "toolConfig" not in sent(chat(FLASH, tool_choice="auto", tools=[]))


def test_tool_names_that_gemini_refuses_are_rewritten_everywhere() -> None:
    long = "x" * 80
    call = {"id": "a", "type": "function", "function": {"name": "9lives", "arguments": "{}"}}
    body = sent(
        chat(
            FLASH,
            tools=[tool("9lives"), tool("_lives"), tool(long)],
            tool_choice=named("_lives"),
            messages=[
                HELLO,
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "a", "content": "x"},
            ],
        )
    )
    declared = [each["name"] for each in body["tools"][0]["functionDeclarations"]]
    assert declared == ["_lives", "_lives_2", "x" * 64]
    assert body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["_lives_2"]
    assert body["contents"][1]["parts"][0]["functionCall"]["name"] == "_lives"
    assert body["contents"][2]["parts"][0]["functionResponse"]["name"] == "_lives"


def test_gemini_3_takes_json_and_search_beside_tools() -> None:
    body = sent(chat(FLASH_3, tools=[WEATHER], response_format=SCHEMA_FORMAT, web_search=True))
    assert body["generationConfig"]["responseJsonSchema"] == WEATHER_SCHEMA
    assert [*map(list, body["tools"])] == [["functionDeclarations"], ["googleSearch"]]


@pytest.mark.parametrize(
    ("body", "calling"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "none"}, {"mode": "NONE"}),
        ({"tool_choice": "required"}, {"mode": "ANY"}),
        ({"tools": [tool("weather", WEATHER_SCHEMA, strict=True)]}, {"mode": "VALIDATED"}),
    ],
)
def test_search_beside_tools_is_allowed_expressly(body: dict[str, Any], calling: dict[str, Any] | None) -> None:
    """Without the flag the request is refused, and AUTO is no mode for it: its default is VALIDATED."""
    config = {"functionCallingConfig": calling} if calling else {}
    asked: dict[str, Any] = {"tools": [WEATHER], "web_search": True} | body
    mixed = sent(chat(FLASH_3, **asked))
    assert mixed["toolConfig"] == config | {"includeServerSideToolInvocations": True}


@pytest.mark.parametrize("body", [{"tools": [WEATHER]}, {"web_search": True}, {"tools": [], "web_search": True}])
def test_one_kind_of_tool_needs_no_flag(body: dict[str, Any]) -> None:
    assert "toolConfig" not in sent(chat(FLASH_3, **body))


@pytest.mark.parametrize("body", [{"web_search": True}, {"web_search_options": {"search_context_size": "high"}}])
def test_web_search(body: dict[str, Any]) -> None:
    bound = chat(FLASH, **body)
    assert sent(bound)["tools"] == [{"googleSearch": {}}]
    hints = [f"web_search_options.{name}" for name in body.get("web_search_options", {})]
    assert list(adapter().build_request(bound).dropped) == hints
    assert "tools" not in sent(chat(FLASH, web_search=False))


@pytest.mark.parametrize("model", [FLASH, FLASH_3])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_forced_call_has_no_text_to_format(model: str, choice: Any) -> None:
    """ "Forced function calling (ANY mode) with a response mime type: 'application/json' is unsupported" (vercel/ai)"""
    bound = chat(model, tools=[WEATHER], tool_choice=choice, response_format=SCHEMA_FORMAT)
    body = sent(bound)
    assert body["toolConfig"]["functionCallingConfig"]["mode"] == "ANY"
    assert "generationConfig" not in body
    assert adapter().build_request(bound).dropped == ("response_format",)
    plain = chat(model, tools=[WEATHER], tool_choice=choice, response_format={"type": "text"})
    assert adapter().build_request(plain).dropped == ()
