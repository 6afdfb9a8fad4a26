"""Translates JSON Schemas for ``parametersJsonSchema`` and ``responseJsonSchema`` (facts/providers.md 5.2)."""

from functools import partial
from typing import Any

from gateway.upstreams.json_schema import restated, with_subschemas

_SHAPES = ("$ref", "anyOf", "oneOf", "allOf", "patternProperties")

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def translate(schema: dict[str, Any], *, titles: bool = True) -> dict[str, Any]:
    """A copy of ``schema`` with every ``const`` as an enum of one value, and every enum with a type.

    A list of ``items`` becomes ``prefixItems``. Gemini ignores an enum without a type, refuses OpenAPI's
    ``discriminator``, and may take a ``title`` in the parameters of a tool for a function to call; without ``titles``
    they are left out.
    """
    left_out = ("discriminator",) if titles else ("discriminator", "title")
    result = {key: value for key, value in restated(schema).items() if key not in left_out}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "type" not in result and (kind := _type_of(result.get("enum"))) is not None:
        result["type"] = kind
    return with_subschemas(result, partial(translate, titles=titles))


def _type_of(values: Any) -> str | None:
    """The one type that all values of an enum have."""
    types = {_TYPES.get(type(value)) for value in values} if isinstance(values, list) else set()
    return types.pop() if len(types) == 1 else None


def takes_arguments(schema: dict[str, Any]) -> bool:
    """False for the schema of a tool without arguments, which Gemini requires to be left out."""
    return bool(
        schema.get("properties")
        or any(key in schema for key in _SHAPES)
        or isinstance(schema.get("additionalProperties"), dict)
        or schema.get("additionalProperties") is True
    )
