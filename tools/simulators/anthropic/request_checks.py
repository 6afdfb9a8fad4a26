"""Rules on everything but the messages: facts/providers.md 3.3, 3.5 to 3.9."""

from collections.abc import Iterator, Mapping
from typing import Any

from tools.simulators.anthropic.blocks import (
    MAX_CACHE_BREAKPOINTS,
    TOOL_NAME,
    cache_breakpoints,
    check_block,
    check_cache_control,
    check_extra,
)
from tools.simulators.anthropic.conversation import blocks, check_messages
from tools.simulators.anthropic.models import Model
from tools.simulators.refusal import RefusedError

NEW_VERSION = "2026-10-21"
"""Under this version temperature, top_p and top_k are refused whatever the model, and the key may be a bearer token."""
VERSIONS = frozenset({"2023-06-01", NEW_VERSION})

REQUEST_KEYS = frozenset(
    {
        "cache_control",
        "container",
        "inference_geo",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "service_tier",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
TYPES: Mapping[str, type] = {
    "metadata": dict,
    "output_config": dict,
    "stop_sequences": list,
    "stream": bool,
    "thinking": dict,
    "tool_choice": dict,
    "tools": list,
}
TOOL_KEYS = frozenset(
    {"type", "name", "description", "input_schema", "strict", "cache_control", "eager_input_streaming"}
)
SERVER_TOOLS = frozenset({"web_search_20250305"})
"""Accepted and ignored."""
SERVER_TOOL_KEYS = frozenset(
    {"type", "name", "max_uses", "user_location", "allowed_domains", "blocked_domains", "cache_control"}
)
CHOICE_KEYS: Mapping[str, frozenset[str]] = {
    "auto": frozenset({"type", "disable_parallel_tool_use"}),
    "any": frozenset({"type", "disable_parallel_tool_use"}),
    "tool": frozenset({"type", "name", "disable_parallel_tool_use"}),
    "none": frozenset({"type"}),
}
THINKING_KEYS: Mapping[str, frozenset[str]] = {
    "enabled": frozenset({"type", "budget_tokens", "display"}),
    "adaptive": frozenset({"type", "display"}),
    "disabled": frozenset({"type"}),
}
SCHEMA_KEYS = frozenset(
    {
        "$defs",
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "default",
        "definitions",
        "description",
        "enum",
        "format",
        "items",
        "minItems",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    }
)
KIND_KEYS = frozenset({"$ref", "allOf", "anyOf", "const", "enum", "type"})
SHAPE_KEYS = frozenset({"$ref", "additionalProperties", "items", "properties", "required", "type"})
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})


def check(body: Mapping[str, Any], model: Model, version: str) -> None:
    check_extra(body, REQUEST_KEYS, "")
    for key, wanted in TYPES.items():
        if body.get(key) is not None and not isinstance(body[key], wanted):
            raise RefusedError(f"{key}: Input should be a valid {wanted.__name__}")
    _check_limit(body.get("max_tokens"), model)
    _check_sampling(body, model, version)
    _check_thinking(body, model)
    _check_output(body.get("output_config"), model)
    _check_system(body.get("system"))
    manual = thinking_type(body) == "enabled"
    check_messages(body.get("messages"), model, thinking=reasoning_enabled(body, model), manual=manual)
    _check_tools(body)
    _check_complexity(body)
    _check_rest(body)


def reasoning_enabled(body: Mapping[str, Any], model: Model) -> bool:
    return model.always_thinks or thinking_type(body) in ("enabled", "adaptive")


def thinking_type(body: Mapping[str, Any]) -> str | None:
    kind = (body.get("thinking") or {}).get("type")
    return str(kind) if kind is not None else None


def _check_limit(limit: Any, model: Model) -> None:
    if limit is None:
        raise RefusedError("max_tokens: Field required")
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise RefusedError("max_tokens: Input should be a valid integer")
    if limit < 0:
        raise RefusedError("max_tokens: must be greater than or equal to 1")
    if limit > model.max_output:
        raise RefusedError(
            f"max_tokens: {limit} > {model.max_output}, which is the maximum allowed number of output tokens for "
            f"{model.name}"
        )


def _check_sampling(body: Mapping[str, Any], model: Model, version: str) -> None:
    given = [key for key in ("temperature", "top_p", "top_k") if body.get(key) is not None]
    if not given:
        return
    if not model.sampling or version == NEW_VERSION:
        raise RefusedError(f"{given[0]}: this parameter is not supported on this model")
    for key in ("temperature", "top_p"):
        value = body.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1):
            raise RefusedError(f"{key}: range: 0..1")
    if "temperature" in given and "top_p" in given:
        raise RefusedError("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if thinking_type(body) == "enabled":
        if body.get("temperature") not in (None, 1):
            raise RefusedError("`temperature` may only be set to 1 when thinking is enabled.")
        if "top_k" in given:
            raise RefusedError("`top_k` must be unset when thinking is enabled.")
        if body.get("top_p") is not None and body["top_p"] < 0.95:
            raise RefusedError("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")


def _check_thinking(body: Mapping[str, Any], model: Model) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if not isinstance(kind, str) or kind not in THINKING_KEYS:
        raise RefusedError(
            "thinking: Input tag does not match any of the expected tags: 'adaptive', 'disabled', 'enabled'"
        )
    check_extra(thinking, THINKING_KEYS[kind], f"thinking.{kind}")
    if kind not in model.thinking:
        raise RefusedError(f'thinking.type: "thinking.type.{kind}" is not supported for this model.')
    if thinking.get("display") not in (None, "summarized", "omitted"):
        raise RefusedError(f"thinking.{kind}.display: Input should be 'summarized' or 'omitted'")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or budget < 1024:
            raise RefusedError("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if budget >= body["max_tokens"]:
            raise RefusedError("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_output(config: Any, model: Model) -> None:
    if config is None:
        return
    check_extra(config, frozenset({"effort", "format"}), "output_config")
    effort = config.get("effort")
    if effort is not None and effort not in model.efforts:
        if not model.efforts:
            raise RefusedError("This model does not support the effort parameter.")
        raise RefusedError(
            f"This model does not support effort level '{effort}'. "
            f"Supported levels: {', '.join(sorted(model.efforts))}."
        )
    if (format_ := config.get("format")) is None:
        return
    if not model.native_json:
        raise RefusedError("output_config.format: structured outputs are not supported on this model")
    if not isinstance(format_, dict) or format_.get("type") != "json_schema" or format_.keys() != {"type", "schema"}:
        raise RefusedError("output_config.format: Input should be a json_schema with a schema")
    check_schema(format_["schema"], "output_config.format.schema")


def check_schema(schema: Any, where: str) -> None:
    """Check for the subset of JSON Schema that constrained decoding supports."""
    for node in _valid_nodes(schema, where):
        if node.get("type") == "object" and node.get("additionalProperties") is not False:
            raise RefusedError(f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false")
        if unknown := sorted(node.keys() - SCHEMA_KEYS):
            raise RefusedError(f"{where}: For '{node.get('type')}' type, property '{unknown[0]}' is not supported")
        if not node.keys() & KIND_KEYS:
            raise RefusedError(f"{where}: Schema type is missing")
        if node.keys() & {"anyOf", "allOf"} and (beside := sorted(node.keys() & SHAPE_KEYS)):
            raise RefusedError(f"{where}: For 'anyOf', '{', '.join(beside)}' is not supported")
        if any("$ref" in inner for inner in node.get("allOf") or ()):
            raise RefusedError(f"{where}: 'allOf' with '$ref' is not supported")
        if node.get("minItems", 0) > 1:
            raise RefusedError(f"{where}: For 'array' type, 'minItems' values other than 0 or 1 are not supported")
        if isinstance(kinds := node.get("type"), list) and (values := node.get("enum")):
            raise RefusedError(
                f"{where}: Invalid schema: Enum value '{values[0]}' does not match declared type '{kinds}'"
            )
        if "format" in node and node["format"] not in FORMATS:
            raise RefusedError(f"{where}: String format '{node['format']}' is not supported")


def _valid_nodes(schema: Any, where: str) -> list[Mapping[str, Any]]:
    try:
        return list(_nodes(schema))
    except (AttributeError, TypeError):
        raise RefusedError(f"{where}: JSON schema is invalid. It must match JSON Schema draft 2020-12") from None


def _nodes(schema: Any) -> Iterator[Mapping[str, Any]]:
    """The schema and its subschemas; property names are not keywords. ``true`` and ``false`` are of any type.

    Raises TypeError for the list of ``items`` of older drafts.
    """
    if isinstance(schema, bool):
        yield {}
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("items"), list):
        raise TypeError
    yield schema
    for key in ("properties", "$defs", "definitions"):
        for inner in (schema.get(key) or {}).values():
            yield from _nodes(inner)
    for key in ("anyOf", "allOf", "oneOf"):
        for inner in schema.get(key) or ():
            yield from _nodes(inner)
    yield from _nodes(schema.get("items"))


def _check_system(system: Any) -> None:
    if system is None or isinstance(system, str):
        return
    for number, block in enumerate(blocks(system)):
        check_block(block, "system", f"system.{number}")


def _check_tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools")
    uses_tools = any(
        block["type"] in ("tool_use", "tool_result")
        for message in body["messages"]
        for block in blocks(message["content"])
    )
    if not tools:
        if uses_tools:
            raise RefusedError("Requests which include `tool_use` or `tool_result` blocks must define tools")
        if body.get("tool_choice") is not None:
            raise RefusedError("tool_choice may only be specified while providing tools")
        return
    names = [_tool_name(tool, f"tools.{number}") for number, tool in enumerate(tools)]
    if len(set(names)) < len(names):
        raise RefusedError("tools: Tool names must be unique.")
    _check_choice(body, names)


def _tool_name(tool: Any, where: str) -> str:
    if not isinstance(tool, dict):
        raise RefusedError(f"{where}: Input should be a valid dictionary")
    if tool.get("type") in SERVER_TOOLS:
        check_extra(tool, SERVER_TOOL_KEYS, f"{where}.{tool['type']}")
        return str(tool.get("name"))
    if tool.get("type", "custom") not in ("custom", None):
        raise RefusedError(
            f"{where}: Input tag '{tool['type']}' found using 'type' does not match any of the expected tags"
        )
    check_extra(tool, TOOL_KEYS, f"{where}.custom")
    check_cache_control(tool.get("cache_control"), f"{where}.custom")
    name, schema = tool.get("name"), tool.get("input_schema")
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        raise RefusedError(f"{where}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    if not isinstance(schema, dict):
        raise RefusedError(f"{where}.custom.input_schema: Field required")
    if schema.get("type") != "object":
        raise RefusedError(f"{where}.custom.input_schema.type: Input should be 'object'")
    _valid_nodes(schema, f"{where}.custom.input_schema")
    if tool.get("strict"):
        check_schema(schema, f"{where}.custom.input_schema")
    return name


def _check_complexity(body: Mapping[str, Any]) -> None:
    """Check the limits on all enforced schemas together."""
    schemas = [tool["input_schema"] for tool in body.get("tools") or () if tool.get("strict")]
    schemas.append(((body.get("output_config") or {}).get("format") or {}).get("schema"))
    nodes = [node for schema in schemas for node in _nodes(schema)]
    optional = sum(len((node.get("properties") or {}).keys() - set(node.get("required") or ())) for node in nodes)
    if optional > 24:
        raise RefusedError(
            f"Schemas contains too many optional parameters ({optional}), which would make grammar compilation "
            "inefficient. Reduce the number of optional parameters in your tool schemas (limit: 24)."
        )
    unions = sum("anyOf" in node or isinstance(node.get("type"), list) for node in nodes)
    if unions > 16:
        raise RefusedError(
            f"Schemas contains too many parameters with union types ({unions} parameters with type arrays or anyOf). "
            "This causes exponential compilation cost. Reduce the number of nullable or union-typed parameters "
            "(limit: 16 parameters with unions)."
        )


def _check_choice(body: Mapping[str, Any], names: list[str]) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, dict) else None
    if not isinstance(kind, str) or kind not in CHOICE_KEYS:
        raise RefusedError(
            "tool_choice: Input tag does not match any of the expected tags: 'any', 'auto', 'none', 'tool'"
        )
    check_extra(choice, CHOICE_KEYS[kind], f"tool_choice.{kind}")
    if kind == "tool" and choice.get("name") not in names:
        raise RefusedError(f"Tool '{choice.get('name')}' not found in provided tools")
    if kind in ("any", "tool") and thinking_type(body) == "enabled":
        raise RefusedError("Thinking may not be enabled when tool_choice forces tool use.")


def _check_rest(body: Mapping[str, Any]) -> None:
    for number, sequence in enumerate(body.get("stop_sequences") or ()):
        if not isinstance(sequence, str) or not sequence.strip():
            raise RefusedError(f"stop_sequences.{number}: each stop sequence must contain non-whitespace")
    if body.get("service_tier") not in (None, "auto", "standard_only"):
        raise RefusedError("service_tier: Input should be 'auto' or 'standard_only'")
    metadata = body.get("metadata")
    if metadata is not None:
        check_extra(metadata, frozenset({"user_id"}), "metadata")
        user_id = metadata.get("user_id") or ""
        if not isinstance(user_id, str) or len(user_id) > 256:
            raise RefusedError("metadata.user_id: Input should be a string of at most 256 characters")
    check_cache_control(body.get("cache_control"), "request")
    marks = [mark.get("ttl", "5m") for mark in cache_breakpoints({**body, "cache_control": None})]
    if len(marks) > MAX_CACHE_BREAKPOINTS:
        raise RefusedError(
            f"A maximum of {MAX_CACHE_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marks)}."
        )
