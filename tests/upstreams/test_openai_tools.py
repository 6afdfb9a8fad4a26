"""Tools for OpenAI-shaped vendors: names that they reject (facts/providers.md 2.3, 4)."""

import json
from typing import Any

import pytest

from gateway.openai_api.deltas import ToolCallStart
from gateway.openai_api.errors import GatewayError
from tests.upstreams.openai_chats import HI, adapter, chat, sent, streamed
from tests.upstreams.openai_streams import DONE, piece, start

MODELS = ("gpt-4.1", "grok-4.3", "seed-1.8", "hermes-4-405b")
NAMES = ("weather", "fs.read", "fs:read", "fs_read", "n" * 65)
ALLOWED = ("weather", "fs_read_2", "fs_read_3", "fs_read", "n" * 64)


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


TOOLS = [tool(name) for name in NAMES]


def names(tools: list[dict[str, Any]]) -> list[str]:
    return [tool["function"]["name"] for tool in tools]


@pytest.mark.parametrize("model", MODELS)
def test_names_go_out_as_the_vendor_takes_them(model: str) -> None:
    body = sent(chat(model, tools=TOOLS, tool_choice=tool("fs.read")))
    assert tuple(names(body["tools"])) == ALLOWED
    assert body["tool_choice"] == tool("fs_read_2")
    assert names(TOOLS) == list(NAMES), "the caller's own tools were changed"


@pytest.mark.parametrize("model", MODELS)
def test_only_the_allowed_ones_are_offered(model: str) -> None:
    wanted = {"mode": "auto", "tools": [tool("fs:read"), tool("weather")]}
    body = sent(chat(model, tools=TOOLS, tool_choice={"type": "allowed_tools", "allowed_tools": wanted}))
    offered = body["tool_choice"]["allowed_tools"]["tools"] if model == "gpt-4.1" else body["tools"]
    assert sorted(names(offered)) == ["fs_read_3", "weather"]


@pytest.mark.parametrize("model", MODELS)
def test_no_more_tools_than_openai_takes_are_sent(model: str) -> None:
    tools = [tool(f"t{number}") for number in range(129)]
    assert len(sent(chat(model, tools=tools[:128]))["tools"]) == 128
    with pytest.raises(GatewayError, match="maximum length 128, but got an array with length 129") as caught:
        sent(chat(model, tools=tools))
    assert (caught.value.param, caught.value.code) == ("tools", "array_above_max_length")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_names_come_back_as_the_caller_knows_them(model: str, stream: bool) -> None:
    bound = chat(model, tools=TOOLS, stream=stream)
    called = [*ALLOWED, "invented"]
    if stream:
        pieces = [piece(tool_calls=[start(number, name, "{}")]) for number, name in enumerate(called)]
        deltas = streamed(bound, b"".join(pieces) + piece(finish="tool_calls") + DONE)
    else:
        message = {"tool_calls": [start(None, name, "{}") for name in called]}
        answer = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
        deltas = list(adapter(bound).decode_response(bound, json.dumps(answer).encode()))
    assert [delta.name for delta in deltas if isinstance(delta, ToolCallStart)] == [*NAMES, "invented"]


@pytest.mark.parametrize("tools", [{}, {"tools": [tool("fs.read")]}])
@pytest.mark.parametrize("model", MODELS)
def test_calls_of_earlier_turns_go_by_the_same_names(model: str, tools: dict[str, Any]) -> None:
    calls = [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for number, name in enumerate(("fs.read", "weather", "n" * 65))
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "x"} for call in calls]
    calling = {"role": "assistant", "content": "", "tool_calls": calls}
    body = sent(chat(model, messages=[HI, calling, *results], **tools))
    assert names(body["messages"][1]["tool_calls"]) == ["fs_read", "weather", "n" * 64]


def test_names_that_fit_are_left_alone() -> None:
    body = sent(chat(tools=[tool("weather")], tool_choice=tool("weather")))
    assert (body["tools"], body["tool_choice"]) == ([tool("weather")], tool("weather"))


@pytest.mark.parametrize("model", MODELS)
def test_a_call_of_an_earlier_turn_is_no_other_tools(model: str) -> None:
    calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for name in ("fs_read", "fs:read", "fs.read")
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "x"} for call in calls]
    calling = {"role": "assistant", "content": "", "tool_calls": calls}
    body = sent(chat(model, messages=[HI, calling, *results], tools=TOOLS))
    assert names(body["messages"][1]["tool_calls"]) == ["fs_read", "fs_read_3", "fs_read_2"]


@pytest.mark.parametrize("parameters", [{}, {"parameters": None}, {"parameters": {}}])
def test_xai_gets_an_empty_schema_for_a_tool_without_arguments(parameters: dict[str, Any]) -> None:
    """https://github.com/dirac-run/dirac/issues/58: Grok refuses a function that has no parameters."""
    clock = {"type": "function", "function": {"name": "clock", **parameters}}
    [function] = sent(chat("grok-4.3", tools=[clock]))["tools"]
    assert function["function"] == {"name": "clock", "parameters": {"type": "object", "properties": {}}}


DECIMAL = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}]}
REFUSED_BY_XAI = {
    "type": "object",
    "properties": {
        "format": {"type": "string", "description": "The format", "enum": ["text/html", "any"]},
        "price": DECIMAL,
        "enum": {"type": "string", "pattern": "^[a-z]+$", "enum": ["a", "b"]},
        "anything": True,
        "count": {"enum": [1, None], "pattern": None, "not": {"enum": None}},
        "where": {"type": "array", "items": [{"type": "string"}, {"enum": ["a/b"]}], "additionalItems": False},
    },
    "$defs": {"Kind": {"enum": ["a/b"]}},
}
TAKEN_BY_XAI = {
    "type": "object",
    "properties": {
        "format": {"type": "string", "description": 'The format (enum: ["text/html","any"])'},
        "price": {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "description": r'(pattern: "^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$")'},
            ]
        },
        "enum": {"type": "string", "pattern": "^[a-z]+$", "enum": ["a", "b"]},
        "anything": True,
        "count": {"enum": [1, None], "pattern": None, "not": {"enum": None}},
        "where": {
            "type": "array",
            "prefixItems": [{"type": "string"}, {"description": '(enum: ["a/b"])'}],
            "items": False,
        },
    },
    "$defs": {"Kind": {"description": '(enum: ["a/b"])'}},
}


@pytest.mark.parametrize("model", MODELS)
def test_xai_is_sent_what_it_can_compile(model: str) -> None:
    given = {"type": "function", "function": {"name": "convert", "parameters": REFUSED_BY_XAI}}
    before = json.dumps(given)
    [declared] = sent(chat(model, tools=[given]))["tools"]
    assert declared["function"]["parameters"] == (TAKEN_BY_XAI if model == "grok-4.3" else REFUSED_BY_XAI)
    assert json.dumps(given) == before
