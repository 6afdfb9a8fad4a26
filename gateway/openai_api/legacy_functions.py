"""OpenAI's retired function calling (``functions``, ``function_call``, role ``function``) as tools.

The signature still covers the request as it was sent; only what goes upstream is modern.
"""

import re
from typing import Any

from gateway.openai_api.errors import GatewayError, invalid_request

Json = dict[str, Any]


def modernise(body: Json) -> Json:
    """``body`` with functions turned into tools; the same object when there are none.

    A body that is not well typed passes through: typing it later names what is wrong.
    """
    messages = body.get("messages")
    rows = messages if isinstance(messages, list) else []
    old_messages = [
        row for row in rows if type(row) is dict and (row.get("function_call") or row.get("role") == "function")
    ]
    if not old_messages and body.get("functions") is None and body.get("function_call") is None:
        return body
    if body.get("tools") and body.get("functions"):
        raise invalid_request("'functions' and 'tools' cannot be used together.", "functions")
    modern = dict(body)
    if isinstance(body.get("functions"), list):
        functions = [{"type": "function", "function": function} for function in modern.pop("functions")]
        modern["tools"] = functions or body.get("tools")
    if isinstance(body.get("function_call"), str | dict):
        modern["tool_choice"] = _choice(modern.pop("function_call"))
    if old_messages:
        modern["messages"] = _messages(rows)
    return modern


_TOOLS = re.compile(r"\btools(?:(\[\d+\])\.function)?\b")
_TOOL_CHOICE = re.compile(r"\btool_choice(?:\.function)?\b")
_TOOL_CALL = re.compile(r"\btool_calls\[0\]\.function\b")
_MESSAGE = re.compile(r"messages\[(\d{1,9})\]\.(.+)")


def named_as_sent(error: GatewayError, sent: Json) -> GatewayError:
    """``error`` about what ``sent`` was turned into, in the words of ``sent``."""
    if (match := _MESSAGE.fullmatch(error.param or "")) is not None:
        position, field = match.groups()
        if int(position) < len(sent["messages"]):  # a vendor may name any
            _name_message(error, sent["messages"][int(position)], position, field)
    if not sent.get("tools"):
        _rename(error, _TOOLS, r"functions\1")
    if sent.get("function_call") is not None:
        _rename(error, _TOOL_CHOICE, "function_call")
    return error


def _name_message(error: GatewayError, row: Json, position: str, field: str) -> None:
    """Put what is wrong with ``field`` of a message into the words of ``row``, which was one of the old ones."""
    if row.get("role") == "function" and field == "tool_call_id":
        error.message = "A message of role 'function' must follow an assistant message with 'function_call'."
        error.param = f"messages[{position}].role"
    elif row.get("function_call"):
        _rename(error, _TOOL_CALL, "function_call")
        if field == "tool_calls":
            error.message = "An assistant message with 'function_call' must be followed by one of role 'function'."
            error.param = f"messages[{position}].function_call"


def _rename(error: GatewayError, modern: re.Pattern[str], old: str) -> None:
    error.message = modern.sub(old, error.message)
    error.param = error.param and modern.sub(old, error.param)


def _choice(choice: str | Json) -> str | Json:
    return {"type": "function", "function": choice} if isinstance(choice, dict) else choice


def _messages(rows: list[Any]) -> list[Any]:
    """Calls and results paired by order, since the old form had no ids."""
    modern: list[Any] = []
    call_id = ""
    for position, row in enumerate(rows):
        if not isinstance(row, dict):
            modern.append(row)
        elif row.get("function_call"):
            call_id = f"call_{position}"
            call = {"id": call_id, "type": "function", "function": row["function_call"]}
            rest = {key: value for key, value in row.items() if key != "function_call"}
            modern.append({**rest, "tool_calls": [call]})
        elif row.get("role") == "function":
            modern.append({"role": "tool", "tool_call_id": call_id, "content": row.get("content") or ""})
        else:
            modern.append(row)
    return modern
