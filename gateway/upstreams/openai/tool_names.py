"""Renames tools whose names OpenAI-shaped vendors refuse, and back (facts/providers.md 2.3, 4)."""

import re
from typing import Any

from gateway.openai_api.request import FunctionTool, Tool
from gateway.upstreams.name_map import NameMap

_MAX_LENGTH = 64
_is_valid = re.compile(rf"[a-zA-Z0-9_-]{{1,{_MAX_LENGTH}}}").fullmatch
_INVALID_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")


def outbound_name(name: str, names: NameMap | None) -> str:
    """The vendor's name for the function ``name``, which need not be among the tools that made ``names``."""
    if _is_valid(name):
        return name
    return (names or NameMap(_INVALID_CHARACTER, _MAX_LENGTH)).outbound(name)


def name_map(tools: list[Tool] | None) -> NameMap | None:
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


def rename_tools(body: dict[str, Any], names: NameMap) -> None:
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
