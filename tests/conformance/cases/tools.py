"""Tool definitions, tool calls and tool results."""

from typing import Any

from tests.conformance.cases.case import Call, Case, answering, user
from tools.simulators import ToolCall

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Its name"}},
    "required": ["city"],
    "additionalProperties": False,
}

UNUSUAL = {
    "type": "object",
    "properties": {
        "format": {"type": "string", "enum": ["text/html", "any"]},
        "price": {"type": "string", "pattern": "^(?!-).+$"},
        "count": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
        "pair": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]},
        "texts": {"type": "array", "maxItems": 1000, "items": {"type": "string"}},
    },
}


def function(name: str, parameters: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    described = {"name": name, "description": f"The {name} now", **fields}
    return {"type": "function", "function": described | ({} if parameters is None else {"parameters": parameters})}


WEATHER, CLOCK = function("weather", CITY), function("clock")
TOOLS = {"tools": [WEATHER, CLOCK]}
ODD = 'Tromsø "north" \\ 🌨\n'


def called(id_: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(id_: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


CASES = (
    Case(
        name="tools, none called",
        parameters=TOOLS,
        scenario=answering("No need."),
        texts=("No need.",),
        arrives=("weather", "clock", "Its name"),
    ),
    Case(
        name="one call",
        parameters=TOOLS,
        scenario=answering(tool_calls=(ToolCall(name="weather", arguments={"city": ODD}),)),
        calls=(Call(name="weather", arguments={"city": ODD}),),
        finish="tool_calls",
    ),
    Case(
        name="parallel calls beside text",
        parameters=TOOLS,
        scenario=answering(
            "Let me see.",
            tool_calls=(
                ToolCall(name="weather", arguments={"city": "Oslo"}),
                ToolCall(name="weather", arguments={"city": "Rome"}),
                ToolCall(name="clock", arguments=""),
            ),
        ),
        texts=("Let me see.",),
        calls=(
            Call(name="weather", arguments={"city": "Oslo"}),
            Call(name="weather", arguments={"city": "Rome"}),
            Call(name="clock"),
        ),
        finish="tool_calls",
    ),
    Case(
        name="a call without arguments",
        parameters=TOOLS,
        scenario=answering(tool_calls=(ToolCall(name="clock", arguments=""),)),
        calls=(Call(name="clock"),),
        finish="tool_calls",
    ),
    Case(
        name="a strict tool",
        parameters={"tools": [function("weather", CITY, strict=True)]},
        scenario=answering(tool_calls=(ToolCall(name="weather", arguments={"city": "Oslo"}),)),
        calls=(Call(name="weather", arguments={"city": "Oslo"}),),
        finish="tool_calls",
        dropped={"xai": "tools.strict", "nous": "tools.strict", "claude-sonnet-4-0": "tools.strict"},
    ),
    Case(
        name="a tool as not every vendor takes it",
        parameters={"tools": [function("convert", UNUSUAL)]},
        scenario=answering(tool_calls=(ToolCall(name="convert", arguments={"format": "text/html"}),)),
        calls=(Call(name="convert", arguments={"format": "text/html"}),),
        finish="tool_calls",
        arrives=("text/html", "(?!-)"),
    ),
    Case(
        name="a call that is required",
        parameters={**TOOLS, "tool_choice": "required"},
        scenario=answering(),
        messages=(user("Hello from Oslo"),),
        calls=(Call(name="weather", arguments={"city": "Oslo"}),),
        finish="tool_calls",
    ),
    Case(
        name="a call that is named",
        parameters={**TOOLS, "tool_choice": {"type": "function", "function": {"name": "clock"}}},
        scenario=answering(),
        calls=(Call(name="clock"),),
        finish="tool_calls",
    ),
    Case(
        name="a call among those allowed",
        parameters={
            **TOOLS,
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
        },
        scenario=answering(),
        messages=(user("Hello from Oslo"),),
        calls=(Call(name="weather", arguments={"city": "Oslo"}),),
        finish="tool_calls",
    ),
    Case(
        name="calls forbidden",
        parameters={**TOOLS, "tool_choice": "none"},
        messages=(user("The weather?"),),
        scenario=answering(),
        texts=("You said: The weather?",),
    ),
    Case(
        name="one call at a time",
        parameters={**TOOLS, "parallel_tool_calls": False},
        messages=(user("The weather in Oslo?"),),
        scenario=answering(),
        calls=(Call(name="weather", arguments={"city": "Oslo"}),),
        finish="tool_calls",
        dropped={"nous": "parallel_tool_calls", "google": "parallel_tool_calls"},
    ),
    Case(
        name="functions of old",
        parameters={"functions": [WEATHER["function"]], "function_call": {"name": "weather"}},
        messages=(user("Oslo"),),
        scenario=answering(),
        calls=(Call(name="weather", arguments={"city": "Oslo"}),),
        finish="tool_calls",
    ),
    Case(
        name="results, in another order",
        parameters=TOOLS,
        messages=(
            {"role": "system", "content": "Be short."},
            user("Weather in Oslo and Rome, and the time?"),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    called("call_1", "weather", '{"city": "Oslo"}'),
                    called("call_2", "weather", '{"city": "Rome"}'),
                    called("call_3", "clock", ""),
                ],
            },
            result("call_3", '{"time": "12:00"}'),
            result("call_1", "4 C"),
            result("call_2", "17 C"),
            user("In Celsius, please."),
        ),
        scenario=answering("4 and 17."),
        texts=("4 and 17.",),
        arrives=("4 C", "17 C", "In Celsius, please."),
    ),
    Case(
        name="results of two rounds",
        parameters=TOOLS,
        messages=(
            user("Weather in Oslo, then in Rome?"),
            {"role": "assistant", "content": "First.", "tool_calls": [called("a", "weather", '{"city": "Oslo"}')]},
            result("a", "4 C"),
            {"role": "assistant", "content": "", "tool_calls": [called("b", "weather", '{"city": "Rome"}')]},
            result("b", "17 C"),
        ),
        scenario=answering(),
        texts=("The tools answered: 17 C",),
        arrives=("First.", "4 C", "17 C"),
    ),
)
