"""Translates JSON Schemas for ``parametersJsonSchema`` and ``responseJsonSchema`` (facts/providers.md 5.2)."""

from typing import Any

_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LIST = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_MAP = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_SHAPES = ("$ref", "anyOf", "oneOf", "allOf", "patternProperties")

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def translate(schema: dict[str, Any], *, titles: bool = True) -> dict[str, Any]:
    """A copy of ``schema`` with every ``const`` as an enum of one value, and every enum with a type.

    Gemini ignores an enum without a type, refuses OpenAPI's ``discriminator``, and may take a ``title`` in the
    parameters of a tool for a function to call; without ``titles`` they are left out.
    """
    result = dict(schema)
    result.pop("discriminator", None)
    if not titles:
        result.pop("title", None)
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "type" not in result and isinstance(result.get("enum"), list):
        types = {_TYPES.get(type(value)) for value in result["enum"]}
        if len(types) == 1 and None not in types:
            result["type"] = types.pop()
    for key in _SINGLE:
        if isinstance(result.get(key), dict):
            result[key] = translate(result[key], titles=titles)
    for key in _LIST:
        if isinstance(result.get(key), list):
            result[key] = [translate(item, titles=titles) if isinstance(item, dict) else item for item in result[key]]
    for key in _MAP:
        if isinstance(result.get(key), dict):
            result[key] = {
                name: translate(item, titles=titles) if isinstance(item, dict) else item
                for name, item in result[key].items()
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
