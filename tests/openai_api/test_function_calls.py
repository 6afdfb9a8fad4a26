"""Of several calls the first is the ``function_call``, in its own choice, complete and streamed."""

from typing import Any

from openai.lib.streaming._deltas import accumulate_delta

from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta, Finish, Text, ToolCallArguments, ToolCallStart
from gateway.openai_api.function_calls import FunctionCallChunkEncoder, choices_with_function_calls
from tests.event_streams import events

ANSWER: list[Delta] = [
    Text("Sure."),
    ToolCallStart(index=0, id="a", name="weather", choice=1),
    ToolCallStart(index=1, id="b", name="time", choice=1),
    ToolCallArguments(1, '{"zone"', 1),
    ToolCallArguments(0, '{"city"', 1),
    ToolCallArguments(1, ":0}", 1),
    ToolCallArguments(0, ":1}", 1),
    Finish("stop"),
    Finish("tool_calls", 1),
]
FIRST = {"name": "weather", "arguments": '{"city":1}'}


def test_complete() -> None:
    assembler = Assembler()
    assembler.extend(ANSWER)
    without, calling = (choice["message"] for choice in choices_with_function_calls(assembler))
    assert "function_call" not in without
    assert (calling["function_call"], len(calling["tool_calls"])) == (FIRST, 2)


def test_streamed() -> None:
    encoder = FunctionCallChunkEncoder("chatcmpl-1", 1_700_000_000, "gpt-4.1")
    messages: dict[int, dict[Any, Any]] = {0: {}, 1: {}}
    for event in events(b"".join(map(encoder.encode, ANSWER))):
        [choice] = event["choices"]
        accumulate_delta(messages[choice["index"]], choice["delta"])
    assert "function_call" not in messages[0]
    assert (messages[1]["function_call"], len(messages[1]["tool_calls"])) == (FIRST, 2)
