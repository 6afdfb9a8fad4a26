"""Checks on the plain parameters of a request, shared by the OpenAI-shaped vendors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tools.simulators.refusal import RefusedError

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
        raise RefusedError(f"Unrecognized request argument supplied: {unknown[0]}")


def check_types(body: Mapping[str, Any]) -> None:
    for key, wanted in TYPES.items():
        value = body.get(key)
        if value is not None and not isinstance(value, wanted):
            raise RefusedError(
                f"Invalid type for '{key}': got {json_type(value)} instead.", param=key, code="invalid_type"
            )
    options = body.get("response_format")
    if isinstance(options, dict) and not isinstance(options.get("type"), str):
        raise RefusedError(
            "Missing required parameter: 'response_format.type'.",
            param="response_format.type",
            code="missing_required_parameter",
        )
    if options and options["type"] == "json_schema" and not isinstance(options.get("json_schema"), dict):
        raise RefusedError(
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
            raise RefusedError(
                f"Invalid type for '{key}': expected {'an integer' if allowed.integer else 'a decimal'}, "
                f"but got {json_type(value)} instead.",
                param=key,
                code="invalid_type",
            )
        if value < allowed.low:
            raise RefusedError(
                f"Invalid '{key}': {name} below minimum value. Expected a value >= {allowed.low:g}, but got {value} "
                "instead.",
                param=key,
                code=f"{name}_below_min_value",
            )
        if value > allowed.high:
            raise RefusedError(
                f"Invalid '{key}': {name} above maximum value. Expected a value <= {allowed.high:g}, but got {value} "
                "instead.",
                param=key,
                code=f"{name}_above_max_value",
            )


def listed(values: Iterable[str]) -> str:
    return ", ".join(map(repr, values))


def json_type(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
