"""Checks on messages; the differences between the OpenAI-shaped vendors are in `MessageRules`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tools.simulators.chat_completions.parameters import json_type, listed
from tools.simulators.refusal import RefusedError

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
    """A vendor's rules for messages: keys by role, part types by role, keys of an image_url."""

    keys: Mapping[str, frozenset[str]]
    parts: Mapping[str, frozenset[str]]
    image_keys: frozenset[str] = frozenset({"url", "detail"})
    custom_tools: bool = False
    """Supports custom tools."""
    longest_call_id: int | None = None
    """In characters."""
    content_missing: str = ""
    """The refusal of an assistant message that has tool calls but no content; empty if it may have none."""
    empty_system: bool = True
    """A system message may be empty."""
    json_arguments: bool = False
    """Parses the arguments of earlier calls."""
    shape_status: int = 400
    """Status for a message that does not have the expected shape."""


def check_messages(body: Mapping[str, Any], rules: MessageRules) -> None:
    messages = body.get("messages")
    if messages is None:
        raise RefusedError(
            "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter"
        )
    if not isinstance(messages, list):
        raise RefusedError(
            f"Invalid type for 'messages': expected an array of objects, but got {json_type(messages)} instead.",
            param="messages",
            code="invalid_type",
        )
    if not messages:
        raise RefusedError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    for number, message in enumerate(messages):
        _check_message(f"messages[{number}]", message, rules)
    _check_tool_pairs(messages)


def _check_message(where: str, message: Any, rules: MessageRules) -> None:
    if not isinstance(message, dict):
        raise RefusedError(f"Invalid type for '{where}': expected an object.", param=where, code="invalid_type")
    role = message.get("role")
    if not isinstance(role, str) or role not in rules.keys:
        raise RefusedError(
            f"Invalid value: '{role}'. Supported values are: {listed(rules.keys)}.",
            param=f"{where}.role",
            code="invalid_value",
            status=rules.shape_status,
        )
    if unknown := sorted(message.keys() - rules.keys[role]):
        raise RefusedError(
            f"Unknown parameter: '{where}.{unknown[0]}'.",
            param=f"{where}.{unknown[0]}",
            code="unknown_parameter",
            status=rules.shape_status,
        )
    _check_content(where, role, message, rules)
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise RefusedError(
            f"Invalid type for '{where}.tool_calls': expected an array.", param=where, code="invalid_type"
        )
    for number, call in enumerate(calls):
        _check_call(f"{where}.tool_calls[{number}]", call, rules)
        _check_call_id(f"{where}.tool_calls[{number}].id", call["id"], rules)
    if isinstance(answered := message.get("tool_call_id"), str):
        _check_call_id(f"{where}.tool_call_id", answered, rules)


def _check_content(where: str, role: str, message: Mapping[str, Any], rules: MessageRules) -> None:
    content = message.get("content")
    if content == []:
        raise RefusedError(
            f"Invalid '{where}.content': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
            param=f"{where}.content",
            code="empty_array",
        )
    if isinstance(content, list):
        for number, part in enumerate(content):
            _check_part(f"{where}.content[{number}]", part, role, rules)
    elif content is None:
        if rules.content_missing:
            raise RefusedError(rules.content_missing)
        if role != "assistant" or not (
            message.get("tool_calls") or message.get("refusal") or message.get("function_call")
        ):
            raise RefusedError(
                f"Invalid value for 'content': expected a string, got null. ({where})", param=f"{where}.content"
            )
    elif not content and role == "system" and not rules.empty_system:
        raise RefusedError("An empty message was provided. Every message needs at least one non-empty content element.")
    elif not isinstance(content, str):
        raise RefusedError(
            f"Invalid type for '{where}.content': expected one of a string or array of objects, "
            f"but got {json_type(content)} instead.",
            param=f"{where}.content",
            code="invalid_type",
        )


def _check_call_id(where: str, call_id: str, rules: MessageRules) -> None:
    if rules.longest_call_id is not None and len(call_id) > rules.longest_call_id:
        raise RefusedError(
            f"Invalid '{where}': string too long. Expected a string with maximum length {rules.longest_call_id}, "
            f"but got a string with length {len(call_id)} instead.",
            param=where,
            code="string_above_max_length",
        )


def _check_part(where: str, part: Any, role: str, rules: MessageRules) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in rules.parts.get(role, ()):
        raise RefusedError(
            f"Invalid value: '{kind}'. Supported values are: {listed(sorted(rules.parts.get(role, ())))}.",
            param=where,
            code="invalid_value",
            status=rules.shape_status,
        )
    if unknown := sorted(part.keys() - PART_KEYS[kind]):
        raise RefusedError(
            f"Unknown parameter: '{where}.{unknown[0]}'.", param=f"{where}.{unknown[0]}", code="unknown_parameter"
        )
    if kind == "text" and not isinstance(part.get("text"), str):
        raise RefusedError(
            f"Invalid type for '{where}.text': expected a string.", param=f"{where}.text", code="invalid_type"
        )
    if kind == "image_url":
        _check_image(where, part.get("image_url"), rules)


def _check_image(where: str, image: Any, rules: MessageRules) -> None:
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise RefusedError(
            f"Invalid type for '{where}.image_url': expected an object with a url.", param=where, code="invalid_type"
        )
    if unknown := sorted(image.keys() - rules.image_keys):
        raise RefusedError(
            f"Unknown parameter: '{where}.image_url.{unknown[0]}'.", param=where, code="unknown_parameter"
        )
    if not image["url"].startswith(("https://", "http://", "data:image/")):
        raise RefusedError(
            "Invalid image URL: expected a URL or a base64-encoded data URL.", param=where, code="invalid_image_url"
        )


def _check_call(where: str, call: Any, rules: MessageRules) -> None:
    kind = "custom" if rules.custom_tools and isinstance(call, dict) and call.get("type") == "custom" else "function"
    function = call.get(kind) if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type") != kind or not isinstance(call.get("id"), str):
        raise RefusedError(f"Missing required parameter: '{where}'.", param=where, code="missing_required_parameter")
    if unknown := sorted(call.keys() - {"id", "type", kind, "index"}):
        raise RefusedError(
            f"Unknown parameter: '{where}.{unknown[0]}'.", param=f"{where}.{unknown[0]}", code="unknown_parameter"
        )
    text = "input" if kind == "custom" else "arguments"
    if unknown := sorted(function.keys() - {"name", text}):
        raise RefusedError(f"Unknown parameter: '{where}.{kind}.{unknown[0]}'.", param=where, code="unknown_parameter")
    for key in ("name", text):
        if not isinstance(function.get(key), str):
            raise RefusedError(
                f"Invalid type for '{where}.{kind}.{key}': expected a string.",
                param=f"{where}.{kind}.{key}",
                code="invalid_type",
            )
    if rules.json_arguments and not _is_json(function[text]):
        raise RefusedError(f"The arguments to a tool_call with ID '{call['id']}' are not a valid JSON string.")


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _check_tool_pairs(messages: Sequence[Mapping[str, Any]]) -> None:
    """Every tool call must be followed by its result, and every result must have its call (facts/providers.md 2.3)."""
    open_ids: list[str] = []
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_ids:
                raise RefusedError(
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
        raise RefusedError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_ids)}",
            param="messages",
        )
