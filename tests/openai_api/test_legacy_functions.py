"""Deprecated function calling becomes tools; ill-typed fields are left for the request's type check to report."""

import copy
from typing import Any

import pytest

from gateway.openai_api.checks import check
from gateway.openai_api.errors import GatewayError, invalid_request
from gateway.openai_api.legacy_functions import functions_to_tools, with_legacy_params
from gateway.openai_api.request import parse_chat

HI = {"role": "user", "content": "Hi"}
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
CALL = {"name": "weather", "arguments": "{}"}
BODY: dict[str, Any] = {"model": "gpt-4.1", "messages": [HI]}


@pytest.mark.parametrize(
    "body",
    [BODY, {**BODY, "tools": [{"type": "function", "function": WEATHER}]}, {**BODY, "functions": None}, {}],
)
def test_modern_bodies_are_the_same_object(body: dict[str, Any]) -> None:
    assert functions_to_tools(body) is body


def test_functions_become_tools() -> None:
    assert functions_to_tools({**BODY, "functions": [WEATHER]}) == {
        **BODY,
        "tools": [{"type": "function", "function": WEATHER}],
    }


@pytest.mark.parametrize(
    ("call", "choice"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ({"name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_function_call_becomes_tool_choice(call: object, choice: object) -> None:
    modern = functions_to_tools({**BODY, "functions": [WEATHER], "function_call": call})
    assert modern["tool_choice"] == choice
    assert not modern.keys() & {"functions", "function_call"}


def test_calls_and_results_are_paired() -> None:
    body = {
        **BODY,
        "messages": [
            HI,
            {"role": "assistant", "content": None, "function_call": CALL},
            {"role": "function", "name": "weather", "content": "4 C"},
            {"role": "assistant", "content": None, "function_call": CALL},
            {"role": "function", "name": "weather", "content": None},
        ],
    }
    before = copy.deepcopy(body)
    modern = functions_to_tools(body)
    assert body == before
    call = {"type": "function", "function": CALL}
    assert modern["messages"] == [
        HI,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", **call}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "4 C"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_3", **call}]},
        {"role": "tool", "tool_call_id": "call_3", "content": ""},
    ]
    check(parse_chat(modern))


def test_the_call_of_an_answer_keeps_its_id_and_signature() -> None:
    """By the id Claude's thoughts are found, and Gemini's signature is beside it."""
    call = {"id": "call_x", "type": "function", "function": CALL, "extra_content": {"google": {}}}
    answer = {"role": "assistant", "content": None, "function_call": CALL, "tool_calls": [call, {**call, "id": "y"}]}
    result = {"role": "function", "name": "weather", "content": "4 C"}
    modern = functions_to_tools({**BODY, "messages": [HI, answer, result]})
    assert modern["messages"][1:] == [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_x", "content": "4 C"},
    ]


def test_all_calls_of_an_answer_count_if_their_results_have_ids() -> None:
    calls = [{"id": call_id, "type": "function", "function": CALL} for call_id in ("x", "y")]
    answer = {"role": "assistant", "content": None, "function_call": CALL, "tool_calls": calls}
    messages = [HI, answer, *({"role": "tool", "tool_call_id": call["id"], "content": "4 C"} for call in calls)]
    assert functions_to_tools({**BODY, "messages": messages})["messages"] == messages


def test_a_result_is_one_whatever_else_it_has() -> None:
    result = {"role": "function", "name": "weather", "content": "4 C", "function_call": CALL}
    modern = functions_to_tools({**BODY, "messages": [HI, {"role": "assistant", "function_call": CALL}, result]})
    assert modern["messages"][2] == {"role": "tool", "tool_call_id": "call_1", "content": "4 C"}


def test_both_forms_together_are_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        functions_to_tools({**BODY, "functions": [WEATHER], "tools": [{"type": "function", "function": WEATHER}]})
    assert (caught.value.status, caught.value.param) == (400, "functions")


def test_no_functions_leave_the_tools() -> None:
    tools = [{"type": "function", "function": WEATHER}]
    assert functions_to_tools({**BODY, "functions": [], "tools": tools}) == {**BODY, "tools": tools}


def test_a_result_without_a_call_is_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        check(
            parse_chat(
                functions_to_tools({**BODY, "messages": [HI, {"role": "function", "name": "f", "content": "x"}]})
            )
        )
    assert caught.value.param == "messages[1].tool_call_id"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({**BODY, "functions": "x"}, "functions"),
        ({**BODY, "functions": [1]}, "tools[0].function"),
        ({**BODY, "functions": [WEATHER], "function_call": 7}, "function_call"),
        ({**BODY, "messages": [{"role": "assistant", "function_call": "x"}]}, "messages[0].tool_calls[0].function"),
        ({**BODY, "messages": [7, {"role": "assistant", "function_call": CALL}]}, "messages[0]"),
        ({**BODY, "messages": "x", "functions": [WEATHER]}, "messages"),
    ],
)
def test_wrong_types_are_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_chat(functions_to_tools(body))
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("param", "told"),
    [
        ("messages[1].tool_calls[0].function.arguments", "messages[1].function_call.arguments"),
        ("messages[3].tool_calls[0].function.arguments", "messages[3].tool_calls[0].function.arguments"),
        ("messages[4].tool_call_id", "messages[4].tool_call_id"),
        ("messages[5].tool_calls", "messages[5].tool_calls"),
        ("messages[99].tool_call_id", "messages[99].tool_call_id"),
    ],
)
def test_only_old_messages_are_named_in_the_old_words(param: str, told: str) -> None:
    """The fault may be in a message of the new form, or in none where a vendor counts differently."""
    calls = [{"id": "c", "type": "function", "function": CALL}]
    messages = [
        HI,
        {"role": "assistant", "function_call": CALL},
        {"role": "function", "name": "weather", "content": "4 C"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": "4 C"},
        {"role": "assistant", "tool_calls": calls, "function_call": CALL},
        {"role": "tool", "tool_call_id": "c", "content": "4 C"},
    ]
    error = with_legacy_params(invalid_request(f"Invalid '{param}'.", param), {**BODY, "messages": messages})
    assert (error.message, error.param) == (f"Invalid '{told}'.", told)
