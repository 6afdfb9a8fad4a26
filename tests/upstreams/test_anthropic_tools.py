"""Tools as Anthropic takes them: choice, names, strictness and web search."""

from typing import Any

import pytest

from tests.upstreams import anthropic_events as events
from tests.upstreams.anthropic_chats import WEATHER, WEATHER_SCHEMA, chat, dropped, sent


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {"type": "auto"}),
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
    ],
)
def test_tool_choice(choice: Any, expected: dict[str, Any]) -> None:
    body = sent(chat(tools=[WEATHER], tool_choice=choice))
    assert body["tool_choice"] == expected
    assert body["tools"] == [{"name": "weather", "input_schema": WEATHER_SCHEMA}]
    serial = sent(chat(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False))["tool_choice"]
    assert serial == expected | ({} if choice == "none" else {"disable_parallel_tool_use": True})


@pytest.mark.parametrize(("mode", "expected"), [("auto", "auto"), ("required", "any")])
def test_allowed_tools_leave_the_others_out(mode: str, expected: str) -> None:
    time = {"type": "function", "function": {"name": "time"}}
    choice = {
        "type": "allowed_tools",
        "allowed_tools": {"mode": mode, "tools": [{"type": "function", "function": {"name": "time"}}]},
    }
    body = sent(chat(tools=[WEATHER, time], tool_choice=choice))
    assert body["tools"] == [{"name": "time", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": expected}


def test_tool_names_are_made_safe_and_distinct() -> None:
    names = ["files.read", "files:read", "files_read", "x" * 128]
    tools = [{"type": "function", "function": {"name": name, "description": "d"}} for name in names]
    body = sent(chat(tools=tools, tool_choice={"type": "function", "function": {"name": "files:read"}}))
    assert [tool["name"] for tool in body["tools"]] == ["files_read", "files_read_2", "files_read_3", "x" * 128]
    assert body["tool_choice"] == {"type": "tool", "name": "files_read_2"}


def test_claude_takes_any_number_of_tools() -> None:
    tools = [{"type": "function", "function": {"name": f"t{number}"}} for number in range(1000)]
    assert len(sent(chat(tools=tools))["tools"]) == 1000


def strict_tool(name: str = "f", **parameters: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "strict": True, "parameters": {"type": "object", **parameters}},
    }


def test_a_strict_tool_is_enforced_where_it_can_be() -> None:
    tool = sent(chat(tools=[strict_tool(properties={"a": {"type": "string"}})]))["tools"][0]
    assert tool["strict"] is True
    assert tool["input_schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("model", "properties"),
    [("claude-haiku-4-5", {"a": {"type": "integer", "minimum": 1}}), ("claude-sonnet-4-0", {"a": {"type": "integer"}})],
)
def test_a_tool_that_cannot_be_enforced_keeps_its_schema(model: str, properties: dict[str, Any]) -> None:
    bound = chat(model, tools=[strict_tool(properties=properties)])
    tool = sent(bound)["tools"][0]
    assert "strict" not in tool
    assert tool["input_schema"]["properties"] == properties
    assert dropped(bound) == ("tools.strict",)


def test_at_most_twenty_tools_are_strict() -> None:
    bound = chat(tools=[strict_tool(f"f{index}") for index in range(22)])
    assert sum("strict" in tool for tool in sent(bound)["tools"]) == 20
    assert dropped(bound) == ("tools.strict",)


TEXT: dict[str, Any] = {"type": "string"}
NULLABLE: dict[str, Any] = {"type": ["string", "null"]}
EITHER: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "integer"}]}


def properties(count: int, schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    named = {f"p{index}": schema for index in range(count)}
    return {"properties": named, "required": [*named] if required else []}


@pytest.mark.parametrize(
    ("parameters", "strict"),
    [
        ([properties(count, TEXT, required=False) for count in (12, 12, 1)], [True, True, False]),
        ([properties(8, NULLABLE)] * 3, [True, True, False]),
        ([properties(8, EITHER), properties(9, NULLABLE), properties(8, NULLABLE)], [True, False, True]),
        ([properties(100, TEXT)] * 3, [True, True, True]),
        ([{"properties": {"properties": {"type": "string", "description": "x"}}}] * 20, [True] * 20),
        ([properties(1, {"type": "array", "items": {"type": "object", **properties(17, EITHER)}})], [False]),
    ],
)
def test_strict_tools_have_no_more_options_than_claude_compiles(
    parameters: list[dict[str, Any]], strict: list[bool]
) -> None:
    """Anthropic refuses "too many parameters with union types", and "too many optional parameters"."""
    bound = chat(tools=[strict_tool(f"f{index}", **schema) for index, schema in enumerate(parameters)])
    assert ["strict" in tool for tool in sent(bound)["tools"]] == strict
    assert dropped(bound) == (() if all(strict) else ("tools.strict",))


def test_the_schema_of_the_answer_counts_beside_strict_tools() -> None:
    answer = {"type": "object", "additionalProperties": False, **properties(9, NULLABLE)}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": answer}}
    tools = [strict_tool("f", **properties(8, NULLABLE)), strict_tool("g", **properties(7, NULLABLE))]
    assert ["strict" in tool for tool in sent(chat(tools=tools, response_format=wanted))["tools"]] == [False, True]


@pytest.mark.parametrize("body", [{"web_search": True}, {"web_search_options": {}}])
def test_web_search_is_anthropics_own_tool(body: dict[str, Any]) -> None:
    result = sent(chat(**body))
    assert result["tools"] == [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]
    assert "tool_choice" not in result


CALLED = [
    {"role": "user", "content": "Oslo?"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "a", "content": "4"},
]


@pytest.mark.parametrize("body", [{"tools": [WEATHER], "tool_choice": "none"}, {"messages": CALLED}])
def test_the_web_may_be_searched_where_no_function_may_be_called(body: dict[str, Any]) -> None:
    result = sent(chat(web_search=True, **body))
    assert [tool["name"] for tool in result["tools"]] == ["web_search"]
    assert "tool_choice" not in result


def test_how_much_of_the_web_to_read_is_not_for_claude_to_know() -> None:
    bound = chat(web_search_options={"search_context_size": "low"})
    assert sent(bound)["tools"] == [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]
    assert dropped(bound) == ("web_search_options.search_context_size",)


@pytest.mark.parametrize("name", ["web_search", "web.search"])
@pytest.mark.parametrize(
    ("body", "names"), [({}, ["web_search"]), ({"web_search": True}, ["web_search_2", "web_search"])]
)
def test_a_tool_of_the_callers_named_web_search_gets_out_of_the_way_of_a_search(
    body: dict[str, Any], names: list[str], name: str
) -> None:
    own = {"type": "function", "function": {"name": name}}
    called = [{"id": "a", "type": "function", "function": {"name": name, "arguments": "{}"}}]
    history = [CALLED[0], {"role": "assistant", "tool_calls": called}, CALLED[2]]
    bound = chat(tools=[own], messages=history, **body)
    result = sent(bound)
    assert [tool["name"] for tool in result["tools"]] == names
    assert result["messages"][1]["content"][0]["name"] == names[0]
    answered = events.answer(events.start(), *events.tool(0, "", name=names[0]), *events.end("tool_use"), bound=bound)
    assert answered["message"]["tool_calls"][0]["function"]["name"] == name


def test_a_cache_breakpoint_may_be_on_a_tool_or_in_its_function() -> None:
    """litellm takes both."""
    mark = {"cache_control": {"type": "ephemeral"}}
    inside = {"type": "function", "function": {"name": "weather", "parameters": WEATHER_SCHEMA, **mark}}
    for tool in (WEATHER | mark, inside):
        assert sent(chat(tools=[tool]))["tools"] == [{"name": "weather", "input_schema": WEATHER_SCHEMA, **mark}]
