"""Translates tools and tool_choice for OpenAI-shaped upstreams (facts/providers.md 2.3, 4)."""

import re
from collections.abc import Iterator
from typing import Any

from gateway.openai_api.errors import invalid_request, unsupported_value
from gateway.openai_api.request import FunctionTool, Tool
from gateway.upstreams import message_hints
from gateway.upstreams.adapter import Chat
from gateway.upstreams.name_map import NameMap
from gateway.upstreams.openai.dialects import Dialect
from gateway.upstreams.openai.tool_schema import compilable

_MAX_TOOLS = 128
"""OpenAI's limit. Anthropic has none, Gemini's is 512 (google-gemini/gemini-cli issue 19083)."""
_MAX_LENGTH = 64
_is_valid = re.compile(rf"[a-zA-Z0-9_-]{{1,{_MAX_LENGTH}}}").fullmatch
_INVALID_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")
_FUNCTION_KEYS = ("name", "description", "parameters")


def outbound_name(name: str, names: NameMap | None) -> str:
    """The vendor's name for the function ``name``, which need not be among the tools that made ``names``."""
    if _is_valid(name):
        return name
    return (names or NameMap(_INVALID_CHARACTER, _MAX_LENGTH)).outbound(name)


def tool_names(tools: list[Tool] | None) -> NameMap | None:
    """The map of a request's function names; None where all are valid, as they mostly are.

    Valid names are reserved but not in the map: ask it for the others only.
    """
    names = [tool.function.name for tool in tools or () if isinstance(tool, FunctionTool)]
    invalid = [name for name in names if not _is_valid(name)]
    if not invalid:
        return None
    renamed = NameMap(_INVALID_CHARACTER, _MAX_LENGTH, reserved=tuple(name for name in names if _is_valid(name)))
    for name in invalid:
        renamed.outbound(name)
    return renamed


def apply(dialect: Dialect, chat: Chat, body: dict[str, Any], names: NameMap | None) -> tuple[str, ...]:
    """Write ``tools`` into ``body`` and adapt its tool_choice; returns the names of the dropped hints. Raises 400."""
    dropped: tuple[str, ...] = ()
    body["tools"] = [_tool(dialect, tool, i) for i, tool in enumerate(chat.body["tools"])]
    if body["tools"] != chat.body["tools"]:
        dropped += message_hints.in_tools(chat.body["tools"])
    if not dialect.allowed_tools:
        _resolve_allowed_tools(body)
    _check_count(len(body["tools"]))
    if names is not None:
        _rename(body, names)
    if not dialect.strict_tools and any(_is_strict(tool) for tool in chat.request.tools or ()):
        dropped += ("tools.strict",)
    return dropped


def _check_count(count: int) -> None:
    if count > _MAX_TOOLS:
        raise invalid_request(
            f"Invalid 'tools': array too long. Expected an array with maximum length {_MAX_TOOLS}, but got an array "
            f"with length {count} instead.",
            "tools",
            "array_above_max_length",
        )


def _tool(dialect: Dialect, tool: dict[str, Any], position: int) -> dict[str, Any]:
    if tool["type"] == "custom":
        if not dialect.custom_tools:
            raise unsupported_value("Custom tools are not supported with this model.", f"tools[{position}].type")
        return {"type": "custom", "custom": {key: value for key, value in tool["custom"].items() if value is not None}}
    keys = (*_FUNCTION_KEYS, "strict") if dialect.strict_tools else _FUNCTION_KEYS
    function = tool["function"]
    described = {key: function[key] for key in keys if function.get(key) is not None}
    if dialect.compiles_tools:
        described["parameters"] = compilable(described.get("parameters"))
    return {"type": "function", "function": described}


def _is_strict(tool: Tool) -> bool:
    return isinstance(tool, FunctionTool) and bool(tool.function.strict)


def _resolve_allowed_tools(body: dict[str, Any]) -> None:
    """Replace an ``allowed_tools`` choice by its mode, and ``tools`` by the allowed ones."""
    match body.get("tool_choice"):
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": [*allowed]}}:
            names = set(_function_names(allowed))
            body["tools"] = [tool for tool in body["tools"] if tool["function"]["name"] in names]
            if not body["tools"]:
                raise invalid_request("'tool_choice' allows none of the 'tools'.", "tool_choice")
            body["tool_choice"] = mode
        case {"type": "allowed_tools"}:
            raise unsupported_value("This 'tool_choice' is not supported with this model.", "tool_choice")


def _function_names(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        match entry:
            case {"type": "function", "function": {"name": str(name)}}:
                yield name


def _rename(body: dict[str, Any], names: NameMap) -> None:
    """Rename the functions in ``tools`` and ``tool_choice`` of ``body``, in place."""
    body["tools"] = [_renamed(tool, names) for tool in body["tools"]]
    choice: Any = body.get("tool_choice")
    match choice:
        case {"type": "function"}:
            body["tool_choice"] = _renamed(choice, names)
        case {"type": "allowed_tools", "allowed_tools": {"tools": [*tools]}}:
            renamed = {"tools": [_renamed(tool, names) for tool in tools]}
            body["tool_choice"] = choice | {"allowed_tools": choice["allowed_tools"] | renamed}


def _renamed(tool: Any, names: NameMap) -> Any:
    match tool:
        case {"type": "function", "function": {"name": str(name)}} if not _is_valid(name):
            return tool | {"function": tool["function"] | {"name": names.outbound(name)}}
    return tool
