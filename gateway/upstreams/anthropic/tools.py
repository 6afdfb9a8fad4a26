"""Translates tools and tool_choice (facts/providers.md 3.5, 3.6, 3.10)."""

import re
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from gateway.openai_api.errors import GatewayError, invalid_request, unsupported_value
from gateway.openai_api.request import FunctionTool, JsonSchema, JsonSchemaFormat, ResponseFormat, Tool
from gateway.upstreams.adapter import Chat
from gateway.upstreams.anthropic.parts import with_cache_control
from gateway.upstreams.anthropic.schema import keeps_meaning, restrict
from gateway.upstreams.anthropic.schema_budget import SchemaBudget
from gateway.upstreams.json_schema import in_draft_2020
from gateway.upstreams.name_map import NameMap

SEARCH_TOOL = "web_search"
JSON_TOOL = "json_tool_call"
MAX_SEARCHES = 5

_UNIONS = ("anyOf", "oneOf", "allOf")
"""Keywords that Anthropic refuses at the top level of an input schema."""

INVALID_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_LIMIT = 128


class Toolset(msgspec.Struct):
    """``tools`` and ``tool_choice`` of the body; ``dropped`` names the unsupported parameters."""

    tools: list[dict[str, Any]]
    choice: dict[str, Any] | None = None
    dropped: tuple[str, ...] = ()


def tool_names(tools: list[Tool] | None, *, searches: bool) -> NameMap:
    """The map of a request's tool names; the names of the gateway's own tools are reserved.

    Web search is one of them only where the request ``searches``: many callers have a function of that name.
    """
    own = (JSON_TOOL, SEARCH_TOOL) if searches else (JSON_TOOL,)
    names = NameMap(INVALID_CHARACTER, _NAME_LIMIT, reserved=own)
    for tool in tools or ():
        if isinstance(tool, FunctionTool):
            names.outbound(tool.function.name)
    return names


def toolset(chat: Chat, called: Collection[str]) -> Toolset:
    """The tools of the request; ``called`` are those of earlier turns. Raises 400 for unsupported ones."""
    request = chat.request
    if request.tools:
        chosen = _declared(chat, tool_names(request.tools, searches=chat.may_pause))
    else:
        chosen = _from_history(called) if called else Toolset([])
    if chat.may_pause:
        if chosen.choice == {"type": "none"}:  # it would rule out the search too
            chosen = Toolset([], dropped=chosen.dropped)
        chosen.tools.append(_search(chat))
        if (chat.request.web_search_options or {}).get("search_context_size") is not None:
            chosen.dropped += ("web_search_options.search_context_size",)
    if (wanted := _emulated_schema(chat)) is not None:
        _force_json(chat, wanted, chosen)
    return chosen


def _emulated_schema(chat: Chat) -> JsonSchema | None:
    """The schema that a forced tool has to emulate, because structured output cannot express it; None otherwise."""
    match chat.request.response_format:
        case JsonSchemaFormat(json_schema=wanted) if wanted.schema is not None and not _is_native(chat, wanted):
            return wanted
    return None


def _is_native(chat: Chat, wanted: JsonSchema) -> bool:
    """Whether the answer is left to the model's structured output.

    A forced tool takes more schemas, but enforces none, and has to be the only one.
    """
    if not chat.model.traits.json_schema:
        return False
    schema = wanted.schema or {}
    if wanted.strict or chat.request.tools or chat.may_pause or not _is_plain_object(schema):
        return True
    return keeps_meaning(schema) and SchemaBudget({}).take(schema)


def _declared(chat: Chat, names: NameMap) -> Toolset:
    request = chat.request
    allowed, choice = _choice(request.tool_choice, names)
    if request.parallel_tool_calls is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    tools: list[dict[str, Any]] = []
    budget, relaxed = SchemaBudget(_answer_schema(request.response_format)), False
    for index, tool in enumerate(request.tools or ()):
        if not isinstance(tool, FunctionTool):
            raise unsupported_value("Custom tools are not supported with this model.", f"tools[{index}].type")
        if allowed is not None and tool.function.name not in allowed:
            continue
        shape = _tool(tool, names, f"tools[{index}].function")
        if tool.function.strict:
            schema = _enforceable(chat, shape["input_schema"])
            if schema is not None and budget.take(schema):
                shape |= {"input_schema": schema, "strict": True}
            else:
                relaxed = True
        tools.append(shape)
    if not tools:
        raise invalid_request("'tool_choice' allows none of the 'tools'.", "tool_choice")
    return Toolset(tools, choice, ("tools.strict",) if relaxed else ())


def _tool(tool: FunctionTool, names: NameMap, where: str) -> dict[str, Any]:
    function = tool.function
    parameters = {"properties": {}} if function.parameters is None else function.parameters
    schema = _input_schema(parameters, f"{where}.parameters")
    shape = {"name": names.outbound(function.name), "input_schema": schema}
    if function.description:
        shape["description"] = function.description
    return with_cache_control(shape, tool.cache_control)


def _input_schema(schema: dict[str, Any], where: str) -> dict[str, Any]:
    """``schema``, whose JSON path is ``where``, as a tool's input schema. Raises 400 unless it is a plain object's."""
    schema = {"type": "object", **in_draft_2020(schema)}
    if schema["type"] != "object":
        raise unsupported_value(
            f"Invalid '{where}': the schema's type must be 'object' with this model.", f"{where}.type"
        )
    for keyword in _UNIONS:
        if keyword in schema:
            raise unsupported_value(
                f"Invalid '{where}': '{keyword}' is not supported at the top level with this model.",
                f"{where}.{keyword}",
            )
    return schema


def _is_plain_object(schema: dict[str, Any]) -> bool:
    return schema.get("type", "object") == "object" and not any(keyword in schema for keyword in _UNIONS)


def _answer_schema(wanted: ResponseFormat | None) -> dict[str, Any]:
    return (wanted.json_schema.schema or {}) if isinstance(wanted, JsonSchemaFormat) else {}


def _enforceable(chat: Chat, schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema for ``strict``, or None if the model or the schema does not support it."""
    if not chat.model.traits.json_schema:
        return None
    try:
        return restrict(schema, lossless=True, param="parameters")
    except GatewayError:
        return None


def _choice(choice: str | dict[str, Any] | None, names: NameMap) -> tuple[set[str] | None, dict[str, Any]]:
    """The allowed names of OpenAI's ``tool_choice`` (None: all), and Anthropic's object."""
    match choice:
        case None | "auto":
            return None, {"type": "auto"}
        case "required":
            return None, {"type": "any"}
        case "none":
            return None, {"type": "none"}
        case {"type": "function", "function": {"name": str(name)}}:
            return None, {"type": "tool", "name": names.outbound(name)}
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": [*tools]}}:
            allowed = {tool["function"]["name"] for tool in tools if _names_function(tool)}
            return allowed, {"type": "any" if mode == "required" else "auto"}
    raise unsupported_value("This 'tool_choice' is not supported with this model.", "tool_choice")


def _names_function(tool: Any) -> bool:
    match tool:
        case {"type": "function", "function": {"name": str()}}:
            return True
    return False


def _from_history(called: Iterable[str]) -> Toolset:
    """Declarations of the tools that earlier turns called, as Anthropic requires, with a choice of none."""
    tools = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in called]
    return Toolset(tools, {"type": "none"})


def _search(chat: Chat) -> dict[str, Any]:
    """Anthropic's web search, limited to ``MAX_SEARCHES`` per answer; ``search_context_size`` has no counterpart."""
    done = [block for block in chat.paused.content if block.get("type") == "server_tool_use"] if chat.paused else []
    left = max(1, MAX_SEARCHES - len(done))
    tool: dict[str, Any] = {"type": "web_search_20250305", "name": SEARCH_TOOL, "max_uses": left}
    match chat.request.web_search_options:
        case {"user_location": {"approximate": dict(place)}}:
            keys = ("city", "country", "region", "timezone")
            tool["user_location"] = {"type": "approximate"} | {key: place[key] for key in keys if place.get(key)}
    return tool


def _force_json(chat: Chat, wanted: JsonSchema, chosen: Toolset) -> None:
    """Add a tool, to be called just once, whose input becomes the answer's text."""
    schema = _input_schema(wanted.schema or {}, "response_format.json_schema.schema")
    if chat.request.tools or any(tool["name"] == SEARCH_TOOL for tool in chosen.tools):
        raise unsupported_value("'tools' and a JSON schema cannot be combined with this model.", "response_format")
    tool = {"name": JSON_TOOL, "description": wanted.description or "Give the answer.", "input_schema": schema}
    chosen.tools.append(tool)
    chosen.choice = {"type": "tool", "name": JSON_TOOL, "disable_parallel_tool_use": True}
