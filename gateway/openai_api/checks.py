"""Consistency checks of a well-typed chat request that do not depend on the model."""

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.openai_api.errors import GatewayError, invalid_request, unsupported_value
from gateway.openai_api.messages import AssistantMessage, Message, ToolMessage
from gateway.openai_api.request import ChatRequest, FunctionTool, JsonObjectFormat

MAX_STOPS = 16
_CHOICES = ("auto", "none", "required", "validated")
_NAMED_CHOICES = ("function", "custom", "allowed_tools")


def check(request: ChatRequest) -> None:
    """Raise a 400 naming the first parameter that is inconsistent with another."""
    if request.stream_options is not None and not request.stream:
        raise invalid_request("'stream_options' is only allowed when 'stream' is true.", "stream_options")
    if request.top_logprobs and not request.logprobs:
        raise invalid_request("'top_logprobs' is only allowed when 'logprobs' is true.", "top_logprobs")
    if request.stop is not None and len(request.stops) > MAX_STOPS:
        raise invalid_request(f"At most {MAX_STOPS} stop sequences are supported.", "stop", "array_above_max_length")
    if isinstance(request.response_format, JsonObjectFormat) and request.response_format.schema is not None:
        raise invalid_request(
            "Unknown parameter: 'response_format.schema'. A schema needs the type 'json_schema'.",
            "response_format.schema",
            "unknown_parameter",
        )
    if request.tools or request.tool_choice is not None:
        _check_tools(request)
    _check_messages(request.messages)


def _check_tools(request: ChatRequest) -> None:
    names: dict[str, None] = {}
    for position, tool in enumerate(request.tools or ()):
        name = tool.function.name if isinstance(tool, FunctionTool) else tool.custom.name
        if name in names:
            kind = "function" if isinstance(tool, FunctionTool) else "custom"
            raise invalid_request(f"The tool '{name[:64]}' is defined twice.", f"tools[{position}].{kind}.name")
        names[name] = None
    choice = request.tool_choice
    if choice is None or choice == "none":
        return
    if not names:
        raise invalid_request("'tool_choice' is only allowed when 'tools' are given.", "tool_choice")
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise invalid_request(f"Invalid value for 'tool_choice': '{choice[:64]}'.", "tool_choice", "invalid_value")
    else:
        _check_named_choice(choice, [*names])


def _check_named_choice(choice: dict[str, Any], names: Sequence[str]) -> None:
    kind = choice.get("type")
    if kind not in _NAMED_CHOICES:
        supported = ", ".join(f"'{name}'" for name in _NAMED_CHOICES)
        raise invalid_request(
            f"Invalid 'tool_choice.type': it must be one of {supported}.", "tool_choice.type", "invalid_value"
        )
    named = choice.get(kind)
    if not isinstance(named, dict):
        raise invalid_request(
            f"Invalid 'tool_choice.{kind}': it must be an object.", f"tool_choice.{kind}", "invalid_value"
        )
    if kind != "allowed_tools" and named.get("name") not in names:
        raise invalid_request("'tool_choice' names a tool that is not in 'tools'.", f"tool_choice.{kind}.name")


def _check_messages(messages: Sequence[Message]) -> None:
    """Tool calls must be followed directly by their tool messages, and by no others (facts/providers.md 2.3).

    An assistant message must not consist of audio alone, which is an id that only the vendor who gave it knows.
    """
    open_calls: dict[str, None] = {}
    call_position = 0
    for position, message in enumerate(messages):
        if type(message) is ToolMessage:
            if message.tool_call_id not in open_calls:
                raise invalid_request(
                    f"No preceding tool call has the id '{message.tool_call_id[:64]}'.",
                    f"messages[{position}].tool_call_id",
                )
            del open_calls[message.tool_call_id]
        elif open_calls:
            raise _unanswered(open_calls, call_position)
        elif type(message) is AssistantMessage:
            if message.tool_calls:
                call_position = position
                open_calls = {call.id: None for call in message.tool_calls}
                if len(open_calls) < len(message.tool_calls):
                    raise invalid_request("Two tool calls share an id.", f"messages[{position}].tool_calls")
            elif message.audio is not None and not message.content and not message.refusal:
                raise unsupported_value(
                    "An earlier answer's audio is not available here; send its transcript as 'content'.",
                    f"messages[{position}].audio",
                )
    if open_calls:
        raise _unanswered(open_calls, call_position)


def _unanswered(calls: Iterable[str], call_position: int) -> GatewayError:
    missing = ", ".join(f"'{call[:64]}'" for call in calls)
    return invalid_request(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        f"'tool_call_id'. No result was found for: {missing}.",
        f"messages[{call_position}].tool_calls",
    )
