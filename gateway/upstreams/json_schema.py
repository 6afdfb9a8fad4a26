"""What vendors have in common that validate JSON Schemas, or compile them to grammars."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

Schema = dict[str, Any]

IRREGULAR = re.compile(r"\(\?(?:<?[=!]|P=)|(?<!\\)(?:\\\\)*\\[bBk1-9]")
"""Lookaround, word boundaries and backreferences, which no grammar expresses."""

_SINGLE = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_LIST = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAP = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})

_BOUNDS = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))


def subschemas(schema: Schema) -> Iterator[Schema]:
    """The direct subschemas of ``schema``, except those that are ``true`` or ``false``."""
    for key, value in schema.items():
        inner: Iterable[Any] = ()
        if key in _MAP and isinstance(value, dict):
            inner = value.values()
        elif key in _LIST and isinstance(value, list):
            inner = value
        elif key in _SINGLE:
            inner = (value,)
        yield from (item for item in inner if isinstance(item, dict))


def with_subschemas(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """A copy of ``schema`` with its direct subschemas changed, except those that are ``true`` or ``false``."""

    def changed(inner: Any) -> Any:
        return change(inner) if isinstance(inner, dict) else inner

    result = dict(schema)
    for key, value in schema.items():
        if isinstance(value, dict):
            if key in _MAP:
                result[key] = {name: changed(item) for name, item in value.items()}
            elif key in _SINGLE:
                result[key] = change(value)
        elif isinstance(value, list) and key in _LIST:
            result[key] = [changed(item) for item in value]
    return result


def definitions(schema: Schema) -> dict[str, Schema]:
    """The definitions in ``schema`` by the references to them, except those that are ``true`` or ``false``."""
    return {
        f"#/{table}/{name}": inner
        for table in ("$defs", "definitions")
        if isinstance(schema.get(table), dict)
        for name, inner in schema[table].items()
        if isinstance(inner, dict)
    }


def in_draft_2020(schema: Schema) -> Schema:
    """A copy of ``schema``, which may be written as in the older drafts, as draft 2020-12 writes it."""
    return with_subschemas(restated(schema), in_draft_2020)


def restated(schema: Schema) -> Schema:
    """``schema`` itself, without its subschemas, as draft 2020-12 writes it.

    Anthropic and xAI refuse a list of ``items``, the tuple of zod's and of many MCP servers' draft-07
    (NousResearch/hermes-agent PRs 63674 and 20976), and Anthropic a bound that is exclusive by a boolean, as in draft 4
    and OpenAPI 3.0 (Dokploy/mcp issue 74).
    """
    for bound, exclusive in _BOUNDS:
        if isinstance(flag := schema.get(exclusive), bool):
            schema = {key: value for key, value in schema.items() if key != exclusive}
            if flag and bound in schema:
                schema[exclusive] = schema.pop(bound)
    if not isinstance(first := schema.get("items"), list):
        return schema
    kept = {key: value for key, value in schema.items() if key not in ("items", "additionalItems")}
    if "additionalItems" in schema:
        kept["items"] = schema["additionalItems"]
    return {"prefixItems": first} | kept if first else kept


def describe(description: str | None, lost: Schema) -> str:
    """``description`` with the keywords in ``lost``, which the vendor does not enforce."""
    constraints = "; ".join(f"{keyword}: {msgspec.json.encode(value).decode()}" for keyword, value in lost.items())
    return f"{description} ({constraints})" if description else f"({constraints})"
