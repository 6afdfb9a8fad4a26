"""Tool names that OpenAI-shaped vendors refuse, rewritten for them and back (facts/providers.md 2.3, 4)."""

import re
from typing import Any

from gateway.openai_api.request import FunctionTool, Tool
from gateway.upstreams.name_map import NameMap

_LIMIT = 64
_fits = re.compile(rf"[a-zA-Z0-9_-]{{1,{_LIMIT}}}").fullmatch
_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")


def named(name: str, names: NameMap | None) -> str:
    """What the function ``name`` is called at the vendor, with ``names`` of ``name_map``; one that is called in an
    earlier turn need not be among the tools."""
    if _fits(name):
        return name
    return (names or NameMap(_REFUSED, _LIMIT)).outbound(name)


def name_map(tools: list[Tool] | None) -> NameMap | None:
    """What a request's functions are called at the vendor; None where all go under their own names, as they mostly do.

    Names that fit stay as they are, so only the others may be asked for.
    """
    names = [tool.function.name for tool in tools or () if isinstance(tool, FunctionTool)]
    odd = [name for name in names if not _fits(name)]
    if not odd:
        return None
    found = NameMap(_REFUSED, _LIMIT, reserved=tuple(name for name in names if _fits(name)))
    for name in odd:
        found.outbound(name)
    return found


def rename(body: dict[str, Any], names: NameMap) -> None:
    """Give the functions in ``tools`` and ``tool_choice`` of an outgoing ``body`` the names that the vendor takes."""
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
        case {"type": "function", "function": {"name": str(name)}} if not _fits(name):
            return tool | {"function": tool["function"] | {"name": names.outbound(name)}}
    return tool
