"""Translates tools and tool_choice, and web search into Gemini's built-in tool (facts/providers.md 5.2)."""

import re
from typing import Any

from gateway.openai_api.errors import invalid_request, unsupported_parameter, unsupported_value
from gateway.openai_api.request import ChatRequest, FunctionDefinition, FunctionTool, Tool
from gateway.upstreams.adapter import Chat
from gateway.upstreams.gemini import schema
from gateway.upstreams.name_map import NameMap

_INVALID_CHARACTER = re.compile(r"^[^A-Za-z_]|[^A-Za-z0-9_.:-]")
_NAMESPACE = re.compile(r"^[^.:]*[.:]")
_MAX_NAME = 64


def tool_names(tools: list[Tool] | None) -> NameMap:
    """The map of a request's tool names, deterministic: it is built once for the request and once for its response."""
    names = NameMap(_INVALID_CHARACTER, _MAX_NAME)
    for tool in tools or ():
        if isinstance(tool, FunctionTool):
            names.outbound(tool.function.name)
    return names


def called_name(names: NameMap, name: str) -> str:
    """The caller's name for the function that the model calls ``name``.

    The model may put a namespace before it, often Google's own: ``default_api:weather``, ``default_api.weather``.
    """
    if name not in names and (plain := _NAMESPACE.sub("", name)) in names:
        name = plain
    return names.inbound(name)


def search_parameter(request: ChatRequest) -> str | None:
    """The parameter that requests a web search, or None."""
    if request.web_search_options is not None:
        return "web_search_options"
    return "web_search" if request.web_search else None


def mixes_tools(request: ChatRequest) -> bool:
    """The request combines the caller's functions with Google's web search."""
    return bool(request.tools) and search_parameter(request) is not None


def forces_call(request: ChatRequest) -> bool:
    """The answer must be a function call, without a text."""
    return bool(request.tools) and _choice(request.tool_choice)[0] == "ANY"


def translate(chat: Chat) -> dict[str, Any]:
    """``tools`` and ``toolConfig`` of the body, without those that are empty. Raises 400."""
    request, traits = chat.request, chat.model.traits
    search = search_parameter(request)
    if not search and not request.tools:
        return {}
    names = tool_names(request.tools)
    for asked in ("tools" if request.tools else None, search):
        if asked and not traits.tools:
            raise unsupported_parameter(asked, request.model)
    if search and request.tools and not traits.json_with_tools:
        raise unsupported_value(f"This model cannot combine '{search}' with function tools.", search)
    functions = [_function(tool, f"tools[{place}]") for place, tool in enumerate(request.tools or ())]
    tools: list[dict[str, Any]] = []
    if functions:
        tools.append({"functionDeclarations": [_declaration(function, names) for function in functions]})
    if search:
        tools.append({"googleSearch": {}})
    config: dict[str, Any] = {}
    if (calling := _calling_config(request, names, functions)) is not None:
        config["functionCallingConfig"] = calling
    if mixes_tools(request):
        config["includeServerSideToolInvocations"] = True
    return ({"tools": tools} if tools else {}) | ({"toolConfig": config} if config else {})


def _function(tool: Any, where: str) -> FunctionDefinition:
    if not isinstance(tool, FunctionTool):
        raise unsupported_value("Custom tools are not supported with this model.", f"{where}.type")
    return tool.function


def _declaration(function: FunctionDefinition, names: NameMap) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": names.outbound(function.name)}
    if function.description:
        declaration["description"] = function.description
    if function.parameters is not None and schema.takes_arguments(function.parameters):
        declaration["parametersJsonSchema"] = schema.translate(function.parameters, titles=False)
    return declaration


def _calling_config(request: ChatRequest, names: NameMap, functions: list[FunctionDefinition]) -> dict[str, Any] | None:
    """functionCallingConfig; None where Gemini's default is the same.

    With web search the default is VALIDATED, and AUTO is refused.
    """
    if not functions:
        return None
    mode, allowed = _choice(request.tool_choice)
    known = {function.name for function in functions}
    for name in allowed:
        if name not in known:
            raise invalid_request(f"'tool_choice' names '{name}', which is not in 'tools'.", "tool_choice")
    if mode == "AUTO" and (allowed or any(function.strict for function in functions)):
        mode = "VALIDATED"
    if mode == "AUTO" and (request.tool_choice is None or mixes_tools(request)):
        return None
    return {"mode": mode} | ({"allowedFunctionNames": [names.outbound(name) for name in allowed]} if allowed else {})


_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "validated": "VALIDATED"}
"""Modes by OpenAI's names, and Google's own ``validated``, which GitHub's Copilot sends to every Gemini model."""


def _choice(choice: str | dict[str, Any] | None) -> tuple[str, list[str]]:
    """The mode and the allowed names of OpenAI's ``tool_choice``."""
    match choice:
        case None:
            return "AUTO", []
        case str() if choice in _MODES:
            return _MODES[choice], []
        case {"type": "function", "function": {"name": str(name)}}:
            return "ANY", [name]
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(tools)}}:
            return _MODES[mode], [_allowed(tool) for tool in tools]
    raise unsupported_value("This 'tool_choice' is not supported with this model.", "tool_choice")


def _allowed(tool: Any) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}}:
            return name
    raise unsupported_value("Only function tools can be allowed with this model.", "tool_choice")
