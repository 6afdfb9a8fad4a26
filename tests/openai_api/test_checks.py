"""Semantic validation of well-typed requests: parameters against each other, tool calls against results."""

from typing import Any

import pytest

from gateway.openai_api.checks import check
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import parse_chat

HI: dict[str, Any] = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "weather"}}
CUSTOM = {"type": "custom", "custom": {"name": "shell"}}


def asking(*ids: str) -> dict[str, Any]:
    calls = [{"id": call, "type": "function", "function": {"name": "weather", "arguments": "{}"}} for call in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": "4 C"}


def checked(**parameters: Any) -> None:
    check(parse_chat({"model": "gpt-4.1", "messages": [HI], **parameters}))


@pytest.mark.parametrize(
    ("parameters", "param", "code"),
    [
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"stream_options": {}, "stream": False}, "stream_options", None),
        ({"top_logprobs": 2}, "top_logprobs", None),
        ({"top_logprobs": 2, "logprobs": False}, "top_logprobs", None),
        ({"stop": ["x"] * 17}, "stop", "array_above_max_length"),
        (
            {"response_format": {"type": "json_object", "schema": {"type": "object"}}},
            "response_format.schema",
            "unknown_parameter",
        ),
        ({"tools": [TOOL, CUSTOM, TOOL]}, "tools[2].function.name", None),
        ({"tools": [CUSTOM, TOOL, CUSTOM]}, "tools[2].custom.name", None),
        ({"tools": [TOOL, {"type": "custom", "custom": {}}]}, "tools[1].custom.name", "missing_required_parameter"),
        ({"tools": [{"type": "custom", "custom": {"name": ["shell"]}}]}, "tools[0].custom.name", "invalid_type"),
        ({"tool_choice": "auto"}, "tool_choice", None),
        ({"tool_choice": "required", "tools": []}, "tool_choice", None),
        ({"tool_choice": "maybe", "tools": [TOOL]}, "tool_choice", "invalid_value"),
        ({"tool_choice": {}, "tools": [TOOL]}, "tool_choice.type", "invalid_value"),
        ({"tool_choice": {"type": "function"}, "tools": [TOOL]}, "tool_choice.function", "invalid_value"),
        (
            {"tool_choice": {"type": "custom", "custom": "shell"}, "tools": [CUSTOM]},
            "tool_choice.custom",
            "invalid_value",
        ),
        ({"tool_choice": {"type": ["function"]}, "tools": [TOOL]}, "tool_choice.type", "invalid_value"),
        ({"tool_choice": {"type": "gadget", "gadget": {}}, "tools": [TOOL]}, "tool_choice.type", "invalid_value"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "other"}}, "tools": [TOOL]},
            "tool_choice.function.name",
            None,
        ),
        (
            {"tool_choice": {"type": "custom", "custom": {"name": "other"}}, "tools": [CUSTOM]},
            "tool_choice.custom.name",
            None,
        ),
    ],
)
def test_contradictions(parameters: dict[str, Any], param: str, code: str | None) -> None:
    with pytest.raises(GatewayError) as caught:
        checked(**parameters)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"logprobs": True, "top_logprobs": 20},
        {"top_logprobs": 0},
        {"stop": ["x"] * 16},
        {"response_format": {"type": "json_object", "schema": None}},
        {"tool_choice": "none"},
        {"tool_choice": "required", "tools": [TOOL]},
        {"tool_choice": "validated", "tools": [TOOL]},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}, "tools": [TOOL, CUSTOM]},
        {"tool_choice": {"type": "custom", "custom": {"name": "shell"}}, "tools": [TOOL, CUSTOM]},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, "tools": [TOOL]},
    ],
)
def test_what_is_in_order(parameters: dict[str, Any]) -> None:
    checked(**parameters)


@pytest.mark.parametrize(
    "messages",
    [
        [HI, asking("a"), result("a")],
        [HI, asking("a", "b"), result("b"), result("a"), HI],
        [HI, asking("a"), result("a"), asking("a"), result("a")],
        [HI, {"role": "assistant", "content": "x", "tool_calls": []}, HI],
    ],
)
def test_answered_calls(messages: list[dict[str, Any]]) -> None:
    checked(messages=messages)


@pytest.mark.parametrize(
    ("messages", "param", "named"),
    [
        ([HI, result("a")], "messages[1].tool_call_id", "'a'"),
        ([HI, asking("a"), result("b")], "messages[2].tool_call_id", "'b'"),
        ([HI, asking("a"), result("a"), result("a")], "messages[3].tool_call_id", "'a'"),
        ([HI, asking("a"), HI, result("a")], "messages[1].tool_calls", "'a'"),
        ([HI, asking("a", "b"), result("a")], "messages[1].tool_calls", "'b'"),
        ([HI, asking("a", "b"), result("a"), HI], "messages[1].tool_calls", "'b'"),
        ([asking("a"), result("a"), asking("b")], "messages[2].tool_calls", "'b'"),
        ([HI, asking("a", "a"), result("a")], "messages[1].tool_calls", "share an id"),
    ],
)
def test_calls_and_results_that_do_not_match(messages: list[dict[str, Any]], param: str, named: str) -> None:
    with pytest.raises(GatewayError) as caught:
        checked(messages=messages)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert named in caught.value.message


def test_long_ids_are_not_repeated_in_full() -> None:
    with pytest.raises(GatewayError) as caught:
        checked(messages=[HI, result("x" * 1000)])
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("rest", [{}, {"content": None, "refusal": None}, {"content": []}])
def test_an_answer_of_audio_alone_would_be_lost(rest: dict[str, Any]) -> None:
    spoken = {"role": "assistant", "audio": {"id": "audio_1"}}
    with pytest.raises(GatewayError) as caught:
        checked(messages=[HI, spoken | rest, HI])
    assert (caught.value.status, caught.value.param) == (400, "messages[1].audio")
    for beside in ({"content": "Hello"}, {"refusal": "no"}, {"audio": None}):
        checked(messages=[HI, spoken | beside, HI])
