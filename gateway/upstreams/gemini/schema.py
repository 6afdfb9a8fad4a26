"""Translates JSON Schemas for ``parametersJsonSchema`` and ``responseJsonSchema`` (facts/providers.md 5.2)."""

from typing import Any

_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LIST = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_MAP = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_SHAPES = ("$ref", "anyOf", "oneOf", "allOf", "patternProperties")


def translate(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``schema`` with every ``const`` as an enum of one value."""
    result = dict(schema)
    if "const" in result:
        result["enum"] = [result.pop("const")]
    for key in _SINGLE:
        if isinstance(result.get(key), dict):
            result[key] = translate(result[key])
    for key in _LIST:
        if isinstance(result.get(key), list):
            result[key] = [translate(item) if isinstance(item, dict) else item for item in result[key]]
    for key in _MAP:
        if isinstance(result.get(key), dict):
            result[key] = {
                name: translate(item) if isinstance(item, dict) else item for name, item in result[key].items()
            }
    return result


def takes_arguments(schema: dict[str, Any] | None) -> bool:
    """False for the schema of a tool without arguments, which Gemini requires to be left out."""
    if not schema:
        return False
    return bool(
        schema.get("properties")
        or any(key in schema for key in _SHAPES)
        or isinstance(schema.get("additionalProperties"), dict)
        or schema.get("additionalProperties") is True
    )
