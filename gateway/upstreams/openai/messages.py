"""Messages for OpenAI-shaped upstreams: the caller's own objects, copied only where they change.

OpenAI refuses unknown keys, so those that other vendors' answers left in the history (reasoning_details, extra_content,
images, cache_control) are removed here (facts/providers.md 2.3).
"""

import hashlib
from typing import Any

import msgspec

from gateway.openai_api.errors import unsupported_value
from gateway.upstreams.adapter import Chat
from gateway.upstreams.name_map import NameMap
from gateway.upstreams.openai.dialects import Dialect
from gateway.upstreams.openai.tools import outbound_name

_KEYS = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "refusal", "tool_calls"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
}
_INSTRUCTIONS = ("system", "developer")
_FIELDS = {
    "image_url": frozenset({"url", "detail"}),
    "input_audio": frozenset({"data", "format", "url"}),
    "video_url": frozenset({"url", "fps"}),
    "file": frozenset({"file_data", "file_id", "filename"}),
}
_PART_INPUTS = {"image_url": "image", "input_audio": "audio", "video_url": "video", "file": "pdf"}


def translate_messages(dialect: Dialect, chat: Chat, names: NameMap | None) -> list[dict[str, Any]]:
    """The caller's messages in the vendor's dialect. ``names`` maps function names; None where all are valid.

    Those of a role and a text are sent as they are, unless the vendor has another name for the role.
    Raises 400 for a content part that the model does not support.
    """
    messages = [
        message
        if len(message) == 2 and type(message.get("content")) is str and message["role"] not in dialect.roles
        else _message(dialect, chat, message, i, names)
        for i, message in enumerate(chat.body["messages"])
        if dialect.empty_system or message["role"] not in _INSTRUCTIONS or _has_text(message["content"])
    ]
    if _wants_thinking_prompt(dialect, chat):
        messages.insert(0, {"role": "system", "content": dialect.thinking_prompt})
    return messages


def _has_text(content: str | list[dict[str, Any]]) -> bool:
    """Whether the content of a system message is more than empty texts."""
    return any(part["text"] for part in content) if isinstance(content, list) else content != ""


def _wants_thinking_prompt(dialect: Dialect, chat: Chat) -> bool:
    wanted = chat.request.reasoning_effort not in (None, "none")
    return dialect.thinking_prompt is not None and wanted and chat.model.traits.thinking == "prompt"


def _message(
    dialect: Dialect, chat: Chat, message: dict[str, Any], position: int, names: NameMap | None
) -> dict[str, Any]:
    """``message`` in the vendor's dialect. An empty list of parts becomes an empty text: OpenAI takes only that."""
    role = message["role"]
    message = _known_keys(dialect, message)
    if isinstance(content := message.get("content"), list):
        message = message | {"content": _parts(dialect, chat, role, content, position) or ""}
    if role in dialect.roles:
        message = message | {"role": dialect.roles[role]}
    if role == "assistant":
        return _assistant(dialect, message, names)
    if role == "tool":
        return message | {"tool_call_id": _call_id(dialect, message["tool_call_id"])}
    return message


def _known_keys(dialect: Dialect, message: dict[str, Any]) -> dict[str, Any]:
    """The message without the keys that the vendor does not know, and without nulls except for the content.

    Thoughts with ``reasoning_details`` are left out: answers of these vendors have none, so they are another's (4).
    """
    role = message["role"]
    allowed = _KEYS[role]
    if role == "assistant" and not message.get("reasoning_details"):
        allowed |= dialect.message_keys
    if not dialect.message_names:
        allowed -= {"name"}
    if message.keys() <= allowed and None not in message.values():
        return message
    return {key: value for key, value in message.items() if key in allowed and (value is not None or key == "content")}


def _assistant(dialect: Dialect, message: dict[str, Any], names: NameMap | None) -> dict[str, Any]:
    """An earlier answer; vendors require a content, a refusal or, most of them, calls."""
    if calls := message.get("tool_calls"):
        message = message | {"tool_calls": [_tool_call(dialect, call, names) for call in calls]}
    elif "tool_calls" in message:
        message = {key: value for key, value in message.items() if key != "tool_calls"}
    if "refusal" in message and not dialect.refusal_parts:
        message = _refusal_as_text(message)
    if message.get("content") or message.get("refusal") or (calls and dialect.null_content):
        return message
    return message | {"content": ""}


def _refusal_as_text(message: dict[str, Any]) -> dict[str, Any]:
    """The message without ``refusal``, which few vendors know; its text becomes, or follows, the content."""
    plain = {key: value for key, value in message.items() if key != "refusal"}
    if refusal := message["refusal"]:
        match plain.get("content"):
            case [_, *_] as parts:
                plain["content"] = [*parts, {"type": "text", "text": refusal}]
            case content:
                plain["content"] = f"{content}\n\n{refusal}" if content else refusal
    return plain


def _parts(dialect: Dialect, chat: Chat, role: str, parts: list[dict[str, Any]], position: int) -> list[dict[str, Any]]:
    return [
        _part(dialect, chat, role, part, f"messages[{position}].content[{place}]") for place, part in enumerate(parts)
    ]


def _part(dialect: Dialect, chat: Chat, role: str, part: dict[str, Any], where: str) -> dict[str, Any]:
    kind = part["type"]
    if kind == "refusal" and not dialect.refusal_parts:
        return {"type": "text", "text": part["refusal"]}
    modality = _PART_INPUTS.get(kind)
    readable = modality is None or (modality in chat.model.inputs and role == "user")
    if not readable or (kind == "file" and not dialect.file_parts):
        raise unsupported_value(f"The model '{chat.request.model}' cannot read '{kind}' parts here.", f"{where}.type")
    body = part[kind]
    if modality is not None:
        fields = _FIELDS[kind] | dialect.image_fields if kind == "image_url" else _FIELDS[kind]
        body = {name: value for name, value in body.items() if name in fields and value is not None}
    return {"type": kind, kind: body}


def _tool_call(dialect: Dialect, call: dict[str, Any], names: NameMap | None) -> dict[str, Any]:
    """An earlier call as the vendor accepts it.

    Without ``custom_tools`` a custom tool call becomes a function call; empty arguments become ``{}``, because xAI
    requires JSON (facts/providers.md 6.2).
    """
    kind = call["type"]
    body = call[kind]
    if kind == "custom" and dialect.custom_tools:
        body = {key: body[key] for key in ("name", "input")}
    elif kind == "custom":
        kind, body = "function", {"name": body["name"], "arguments": _as_arguments(body["input"])}
    else:
        body = {"name": body["name"], "arguments": body["arguments"] or "{}"}
    body["name"] = outbound_name(body["name"], names)
    return {"id": _call_id(dialect, call["id"]), "type": kind, kind: body}


def _as_arguments(text: str) -> str:
    return msgspec.json.encode({"input": text}).decode()


def _call_id(dialect: Dialect, given: str) -> str:
    """``given``, or a digest of it where it is too long for the vendor: OpenAI refuses ids of xAI and Nous.

    The digest is deterministic, so that call and result keep matching in every request (facts/providers.md 4).
    """
    if dialect.max_call_id_length is None or len(given) <= dialect.max_call_id_length:
        return given
    return f"call_{hashlib.sha256(given.encode()).hexdigest()[:32]}"
