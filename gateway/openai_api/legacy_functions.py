"""OpenAI's legacy function calling (``functions``, ``function_call``, role ``function``), translated to tools.

The signature covers the request as it was sent; only what goes upstream is translated.
"""

import re
from typing import Any

from gateway.openai_api.errors import GatewayError, invalid_request

Json = dict[str, Any]


def functions_to_tools(body: Json) -> Json:
    """``body`` with functions translated to tools; the same object if it has none.

    Ill-typed parts are passed through: the validation that follows reports them.
    """
    messages = body.get("messages")
    rows = messages if isinstance(messages, list) else []
    legacy_messages = [
        row for row in rows if type(row) is dict and (row.get("function_call") or row.get("role") == "function")
    ]
    if not legacy_messages and body.get("functions") is None and body.get("function_call") is None:
        return body
    if body.get("tools") and body.get("functions"):
        raise invalid_request("'functions' and 'tools' cannot be used together.", "functions")
    translated = dict(body)
    if isinstance(body.get("functions"), list):
        functions = [{"type": "function", "function": function} for function in translated.pop("functions")]
        translated["tools"] = functions or body.get("tools")
    if isinstance(body.get("function_call"), str | dict):
        translated["tool_choice"] = _choice(translated.pop("function_call"))
    if legacy_messages:
        translated["messages"] = _messages(rows)
    return translated


_TOOLS = re.compile(r"\btools(?:(\[\d+\])\.function)?\b")
_TOOL_CHOICE = re.compile(r"\btool_choice(?:\.function)?\b")
_TOOL_CALL = re.compile(r"\btool_calls\[0\]\.function\b")
_MESSAGE = re.compile(r"messages\[(\d{1,9})\]\.(.+)")


def with_legacy_params(error: GatewayError, sent: Json) -> GatewayError:
    """``error`` about the translated request, its message and ``param`` rewritten in terms of ``sent``."""
    if (match := _MESSAGE.fullmatch(error.param or "")) is not None:
        position, field = match.groups()
        if int(position) < len(sent["messages"]):  # a vendor may report any position
            _rewrite_message_error(error, sent["messages"], int(position), field)
    if not sent.get("tools"):
        _substitute(error, _TOOLS, r"functions\1")
    if sent.get("function_call") is not None:
        _substitute(error, _TOOL_CHOICE, "function_call")
    return error


def _rewrite_message_error(error: GatewayError, rows: list[Json], position: int, field: str) -> None:
    """Rewrite an error about ``field`` of the message at ``position``."""
    if rows[position].get("role") == "function" and field == "tool_call_id":
        error.message = "A message of role 'function' must follow an assistant message with 'function_call'."
        error.param = f"messages[{position}].role"
    elif _has_legacy_call(rows, position):
        _substitute(error, _TOOL_CALL, "function_call")
        if field == "tool_calls":
            error.message = "An assistant message with 'function_call' must be followed by one of role 'function'."
            error.param = f"messages[{position}].function_call"


def _substitute(error: GatewayError, pattern: re.Pattern[str], legacy: str) -> None:
    error.message = pattern.sub(legacy, error.message)
    error.param = error.param and pattern.sub(legacy, error.param)


def _choice(choice: str | Json) -> str | Json:
    return {"type": "function", "function": choice} if isinstance(choice, dict) else choice


def _messages(rows: list[Any]) -> list[Any]:
    """Translate messages; calls and results are paired by order, since legacy results have no ids."""
    translated: list[Any] = []
    call_id = ""
    for position, row in enumerate(rows):
        if not isinstance(row, dict):
            translated.append(row)
        elif row.get("role") == "function":
            translated.append({"role": "tool", "tool_call_id": call_id, "content": row.get("content") or ""})
        elif _has_legacy_call(rows, position):
            call = _call(row, f"call_{position}")
            call_id = call["id"]
            rest = {key: value for key, value in row.items() if key != "function_call"}
            translated.append({**rest, "tool_calls": [call]})
        else:
            translated.append(row)
    return translated


def _call(row: Json, call_id: str) -> Json:
    """The call of a message in its modern form; that of an answer has an id, by which its thoughts are found."""
    call: Json = {"id": call_id, "type": "function", "function": row["function_call"]}
    match row.get("tool_calls"):
        case [{"id": str()} as answered, *_]:
            call = answered
    return call


def _has_legacy_call(rows: list[Any], position: int) -> bool:
    """Whether the message at ``position`` has a legacy call that counts.

    An answer of the gateway has its calls in both forms: a result with an id after it says that the modern ones do.
    """
    row, following = rows[position], rows[position + 1 : position + 2]
    answered_by_id = any(isinstance(next_, dict) and next_.get("role") == "tool" for next_ in following)
    return bool(row.get("function_call")) and not (row.get("tool_calls") and answered_by_id)
