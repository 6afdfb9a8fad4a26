"""Request checks that the OpenAI-shaped vendors share; what differs is in the rules they are handed."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.simulators.refusal import Refused

TYPES: Mapping[str, tuple[type, ...]] = {
    "logprobs": (bool,),
    "parallel_tool_calls": (bool,),
    "reasoning": (dict,),
    "reasoning_effort": (str,),
    "response_format": (dict,),
    "service_tier": (str,),
    "stop": (str, list),
    "stream": (bool,),
    "stream_options": (dict,),
    "thinking": (dict,),
    "user": (str,),
    "verbosity": (str,),
}

FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MAX_TOOLS = 128

PART_KEYS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"type", "text"}),
    "refusal": frozenset({"type", "refusal"}),
    "image_url": frozenset({"type", "image_url"}),
    "input_audio": frozenset({"type", "input_audio"}),
    "file": frozenset({"type", "file"}),
    "video_url": frozenset({"type", "video_url"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRules:
    """What a vendor takes as messages: keys by role, part types by role, keys of an image_url."""

    keys: Mapping[str, frozenset[str]]
    parts: Mapping[str, frozenset[str]]
    image_keys: frozenset[str] = frozenset({"url", "detail"})
    custom_tools: bool = False
    """Takes tools whose input is free text."""
    shape_status: int = 400
    """Status for a message that does not have the expected shape."""


@dataclass(frozen=True, slots=True)
class Range:
    low: float
    high: float
    integer: bool = False


def keys(text: str) -> frozenset[str]:
    """The names in a blank-separated list."""
    return frozenset(text.split())


def check_keys(body: Mapping[str, Any], allowed: frozenset[str]) -> None:
    if unknown := [key for key in body if key not in allowed]:
        raise Refused(f"Unrecognized request argument supplied: {unknown[0]}", param=None)


def check_types(body: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> None:
    for key, wanted in types.items():
        value = body.get(key)
        if value is not None and not isinstance(value, wanted):
            raise Refused(f"Invalid type for '{key}': got {_json_type(value)} instead.", param=key, code="invalid_type")
    options = body.get("response_format")
    if isinstance(options, dict) and not isinstance(options.get("type"), str):
        raise Refused(
            "Missing required parameter: 'response_format.type'.",
            param="response_format.type",
            code="missing_required_parameter",
        )
    if options and options["type"] == "json_schema" and not isinstance(options.get("json_schema"), dict):
        raise Refused(
            "Missing required parameter: 'response_format.json_schema'.",
            param="response_format.json_schema",
            code="missing_required_parameter",
        )


def check_ranges(body: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    for key, allowed in ranges.items():
        value = body.get(key)
        if value is None:
            continue
        wanted = (int,) if allowed.integer else (int, float)
        name = "integer" if allowed.integer else "decimal"
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise Refused(
                f"Invalid type for '{key}': expected {'an integer' if allowed.integer else 'a decimal'}, "
                f"but got {_json_type(value)} instead.",
                param=key,
                code="invalid_type",
            )
        if value < allowed.low:
            raise Refused(
                f"Invalid '{key}': {name} below minimum value. Expected a value >= {allowed.low:g}, but got {value} "
                "instead.",
                param=key,
                code=f"{name}_below_min_value",
            )
        if value > allowed.high:
            raise Refused(
                f"Invalid '{key}': {name} above maximum value. Expected a value <= {allowed.high:g}, but got {value} "
                "instead.",
                param=key,
                code=f"{name}_above_max_value",
            )


def check_messages(body: Mapping[str, Any], rules: MessageRules) -> None:
    messages = body.get("messages")
    if messages is None:
        raise Refused("Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter")
    if not isinstance(messages, list):
        raise Refused(
            f"Invalid type for 'messages': expected an array of objects, but got {_json_type(messages)} instead.",
            param="messages",
            code="invalid_type",
        )
    if not messages:
        raise Refused(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    for number, message in enumerate(messages):
        _check_message(f"messages[{number}]", message, rules)
    _check_tool_pairs(messages)


def _check_message(where: str, message: Any, rules: MessageRules) -> None:
    if not isinstance(message, dict):
        raise Refused(f"Invalid type for '{where}': expected an object.", param=where, code="invalid_type")
    role = message.get("role")
    if not isinstance(role, str) or role not in rules.keys:
        raise Refused(
            f"Invalid value: '{role}'. Supported values are: {_listed(rules.keys)}.",
            param=f"{where}.role",
            code="invalid_value",
            status=rules.shape_status,
        )
    if unknown := sorted(message.keys() - rules.keys[role]):
        raise Refused(
            f"Unknown parameter: '{where}.{unknown[0]}'.",
            param=f"{where}.{unknown[0]}",
            code="unknown_parameter",
            status=rules.shape_status,
        )
    content = message.get("content")
    if isinstance(content, list):
        for number, part in enumerate(content):
            _check_part(f"{where}.content[{number}]", part, role, rules)
    elif content is None:
        if role != "assistant" or not (
            message.get("tool_calls") or message.get("refusal") or message.get("function_call")
        ):
            raise Refused(
                f"Invalid value for 'content': expected a string, got null. ({where})",
                param=f"{where}.content",
                code=None,
            )
    elif not isinstance(content, str):
        raise Refused(
            f"Invalid type for '{where}.content': expected one of a string or array of objects, "
            f"but got {_json_type(content)} instead.",
            param=f"{where}.content",
            code="invalid_type",
        )
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise Refused(f"Invalid type for '{where}.tool_calls': expected an array.", param=where, code="invalid_type")
    for number, call in enumerate(calls):
        _check_call(f"{where}.tool_calls[{number}]", call, rules)


def _check_part(where: str, part: Any, role: str, rules: MessageRules) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in rules.parts.get(role, ()):
        raise Refused(
            f"Invalid value: '{kind}'. Supported values are: {_listed(sorted(rules.parts.get(role, ())))}.",
            param=where,
            code="invalid_value",
            status=rules.shape_status,
        )
    if unknown := sorted(part.keys() - PART_KEYS[kind]):
        raise Refused(
            f"Unknown parameter: '{where}.{unknown[0]}'.", param=f"{where}.{unknown[0]}", code="unknown_parameter"
        )
    if kind == "text" and not isinstance(part.get("text"), str):
        raise Refused(
            f"Invalid type for '{where}.text': expected a string.", param=f"{where}.text", code="invalid_type"
        )
    if kind == "image_url":
        _check_image(where, part.get("image_url"), rules)


def _check_image(where: str, image: Any, rules: MessageRules) -> None:
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise Refused(
            f"Invalid type for '{where}.image_url': expected an object with a url.", param=where, code="invalid_type"
        )
    if unknown := sorted(image.keys() - rules.image_keys):
        raise Refused(f"Unknown parameter: '{where}.image_url.{unknown[0]}'.", param=where, code="unknown_parameter")
    if not image["url"].startswith(("https://", "http://", "data:image/")):
        raise Refused(
            "Invalid image URL: expected a URL or a base64-encoded data URL.", param=where, code="invalid_image_url"
        )


def _check_call(where: str, call: Any, rules: MessageRules) -> None:
    kind = "custom" if rules.custom_tools and isinstance(call, dict) and call.get("type") == "custom" else "function"
    function = call.get(kind) if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type") != kind or not isinstance(call.get("id"), str):
        raise Refused(f"Missing required parameter: '{where}'.", param=where, code="missing_required_parameter")
    if unknown := sorted(call.keys() - {"id", "type", kind, "index"}):
        raise Refused(
            f"Unknown parameter: '{where}.{unknown[0]}'.", param=f"{where}.{unknown[0]}", code="unknown_parameter"
        )
    text = "input" if kind == "custom" else "arguments"
    if unknown := sorted(function.keys() - {"name", text}):
        raise Refused(f"Unknown parameter: '{where}.{kind}.{unknown[0]}'.", param=where, code="unknown_parameter")
    for key in ("name", text):
        if not isinstance(function.get(key), str):
            raise Refused(
                f"Invalid type for '{where}.{kind}.{key}': expected a string.",
                param=f"{where}.{kind}.{key}",
                code="invalid_type",
            )


def _check_tool_pairs(messages: Sequence[Mapping[str, Any]]) -> None:
    """Each tool call is answered right after it, and nothing else is (facts/providers.md 2.3)."""
    open_ids: list[str] = []
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_ids:
                raise Refused(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    param=f"messages.[{number}].role",
                )
            open_ids.remove(message["tool_call_id"])
            continue
        if open_ids:
            break
        open_ids = [call["id"] for call in message.get("tool_calls") or ()]
    if open_ids:
        raise Refused(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_ids)}",
            param="messages",
        )


def check_tools(body: Mapping[str, Any], function_keys: frozenset[str], *, custom: bool = False) -> None:
    tools = body.get("tools")
    if tools is None:
        for key in ("tool_choice", "parallel_tool_calls"):
            if key in body:
                raise Refused(
                    f"Invalid value for '{key}': '{key}' is only allowed when 'tools' are specified.", param=key
                )
        return
    if not isinstance(tools, list) or not 1 <= len(tools) <= MAX_TOOLS:
        raise Refused(
            f"Invalid 'tools': expected an array of 1 to {MAX_TOOLS} tools.", param="tools", code="invalid_value"
        )
    names = [
        _custom_name(f"tools[{number}]", tool)
        if custom and isinstance(tool, dict) and tool.get("type") == "custom"
        else _tool_name(f"tools[{number}]", tool, function_keys)
        for number, tool in enumerate(tools)
    ]
    _check_choice(body.get("tool_choice"), names)


def _tool_name(where: str, tool: Any, function_keys: frozenset[str]) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type") != "function" or tool.keys() - {"type", "function"}:
        raise Refused(f"Invalid value for '{where}': expected a function tool.", param=where, code="invalid_value")
    name = function.get("name")
    if not isinstance(name, str) or not FUNCTION_NAME.fullmatch(name):
        raise Refused(
            f"Invalid '{where}.function.name': string does not match pattern. Expected a string that matches the "
            "pattern '^[a-zA-Z0-9_-]+$'.",
            param=f"{where}.function.name",
            code="invalid_value",
        )
    if unknown := sorted(function.keys() - function_keys):
        raise Refused(
            f"Unknown parameter: '{where}.function.{unknown[0]}'.",
            param=f"{where}.function.{unknown[0]}",
            code="unknown_parameter",
        )
    parameters = function.get("parameters")
    if parameters is not None and (not isinstance(parameters, dict) or parameters.get("type", "object") != "object"):
        raise Refused(
            f"Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"'.",
            param=f"{where}.function.parameters",
            code="invalid_function_parameters",
        )
    if function.get("strict"):
        check_strict_schema(parameters or {}, f"function '{name}'", f"{where}.function.parameters")
    return name


def _custom_name(where: str, tool: Mapping[str, Any]) -> str:
    described = tool.get("custom")
    name = described.get("name") if isinstance(described, dict) else None
    if not isinstance(name, str) or not FUNCTION_NAME.fullmatch(name):
        raise Refused(f"Invalid '{where}.custom.name'.", param=f"{where}.custom.name", code="invalid_value")
    return name


def _check_choice(choice: Any, names: Sequence[str]) -> None:
    if choice is None or choice in ("auto", "none", "required"):
        return
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return
    function = choice.get("function", choice.get("custom")) if isinstance(choice, dict) else None
    named = function.get("name") if isinstance(function, dict) else None
    if named not in names:
        raise Refused(
            f"Invalid value for 'tool_choice': tool choice {named!r} not found in 'tools' parameter.",
            param="tool_choice",
        )


def check_strict_schema(schema: Mapping[str, Any], what: str, param: str) -> None:
    """Strict schemas close every object and require all of its properties."""
    for path, node in _objects(schema, ()):
        if node.get("additionalProperties") is not False:
            raise Refused(
                f"Invalid schema for {what}: In context={path}, 'additionalProperties' is required to be supplied and "
                "to be false.",
                param=param,
                code="invalid_json_schema",
            )
        if set(node.get("properties", {})) != set(node.get("required", ())):
            raise Refused(
                f"Invalid schema for {what}: In context={path}, 'required' is required to be supplied and to be an "
                "array including every key in properties.",
                param=param,
                code="invalid_json_schema",
            )


def _objects(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    if isinstance(node, dict):
        if node.get("type") == "object" or "properties" in node:
            yield path, node
        for key, value in node.items():
            if key not in ("enum", "const", "default", "required"):
                yield from _objects(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _objects(value, (*path, str(number)))


def _listed(values: Iterable[str]) -> str:
    return ", ".join(map(repr, values))


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
