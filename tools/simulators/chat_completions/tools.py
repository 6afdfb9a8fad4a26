"""Checks on tools, tool_choice and strict schemas."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.simulators.refusal import RefusedError

FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MAX_TOOLS = 128


def check_tools(body: Mapping[str, Any], function_keys: frozenset[str], *, custom: bool = False) -> None:
    tools = body.get("tools")
    if tools is None:
        for key in ("tool_choice", "parallel_tool_calls"):
            if key in body:
                raise RefusedError(
                    f"Invalid value for '{key}': '{key}' is only allowed when 'tools' are specified.", param=key
                )
        return
    if not isinstance(tools, list) or not 1 <= len(tools) <= MAX_TOOLS:
        raise RefusedError(
            f"Invalid 'tools': expected an array of 1 to {MAX_TOOLS} tools.", param="tools", code="invalid_value"
        )
    names = [
        _custom_name(f"tools[{number}]", tool)
        if custom and isinstance(tool, dict) and tool.get("type") == "custom"
        else _tool_name(f"tools[{number}]", tool, function_keys)
        for number, tool in enumerate(tools)
    ]
    _check_choice(body.get("tool_choice"), names, listed=custom)


def _tool_name(where: str, tool: Any, function_keys: frozenset[str]) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type") != "function" or tool.keys() - {"type", "function"}:
        raise RefusedError(f"Invalid value for '{where}': expected a function tool.", param=where, code="invalid_value")
    name = function.get("name")
    if not isinstance(name, str) or not FUNCTION_NAME.fullmatch(name):
        raise RefusedError(
            f"Invalid '{where}.function.name': string does not match pattern. Expected a string that matches the "
            "pattern '^[a-zA-Z0-9_-]+$'.",
            param=f"{where}.function.name",
            code="invalid_value",
        )
    if unknown := sorted(function.keys() - function_keys):
        raise RefusedError(
            f"Unknown parameter: '{where}.function.{unknown[0]}'.",
            param=f"{where}.function.{unknown[0]}",
            code="unknown_parameter",
        )
    parameters = function.get("parameters")
    if parameters is not None and (not isinstance(parameters, dict) or parameters.get("type", "object") != "object"):
        raise RefusedError(
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
        raise RefusedError(f"Invalid '{where}.custom.name'.", param=f"{where}.custom.name", code="invalid_value")
    return name


def _check_choice(choice: Any, names: Sequence[str], *, listed: bool) -> None:
    """`listed`: the choice may be a list of allowed tools, which only OpenAI supports."""
    if choice is None or choice in ("auto", "none", "required"):
        return
    if listed and isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return
    function = choice.get("function", choice.get("custom")) if isinstance(choice, dict) else None
    named = function.get("name") if isinstance(function, dict) else None
    if named not in names:
        raise RefusedError(
            f"Invalid value for 'tool_choice': tool choice {named!r} not found in 'tools' parameter.",
            param="tool_choice",
        )


def check_strict_schema(schema: Mapping[str, Any], what: str, param: str) -> None:
    """Strict schemas must close every object and require all of its properties."""
    for path, node in _objects(schema, ()):
        if node.get("additionalProperties") is not False:
            raise RefusedError(
                f"Invalid schema for {what}: In context={path}, 'additionalProperties' is required to be supplied and "
                "to be false.",
                param=param,
                code="invalid_json_schema",
            )
        if not _requires_all(node):
            raise RefusedError(
                f"Invalid schema for {what}: In context={path}, 'required' is required to be supplied and to be an "
                "array including every key in properties.",
                param=param,
                code="invalid_json_schema",
            )


def _requires_all(node: Mapping[str, Any]) -> bool:
    properties, required = node.get("properties", {}), node.get("required", [])
    return (
        isinstance(properties, dict)
        and isinstance(required, list)
        and all(isinstance(name, str) for name in required)
        and set(properties) == set(required)
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
