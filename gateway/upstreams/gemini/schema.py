"""Translates JSON Schemas for ``parametersJsonSchema`` and ``responseJsonSchema`` (facts/providers.md 5.2)."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from gateway.upstreams.json_schema import Schema, definitions, describe, restated, subschemas, with_subschemas

_MOST_VALUES = 500
"""Gemini repeats the grammar of an array's item as often as ``maxItems`` says, and refuses a schema for more than about
950 strings, or fewer objects, with nothing but "Request contains an invalid argument" (googleapis/python-genai issue
2170, vercel/ai issue 21192, Open-Historia/open-historia PR 790)."""
_MOST_LEVELS = 3
"""How deep definitions that refer to each other, or to themselves, are counted."""
_SHAPES = ("$ref", "anyOf", "oneOf", "allOf", "patternProperties")

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def translate(schema: Schema, *, titles: bool = True) -> Schema:
    """A copy of ``schema`` with every ``const`` as an enum of one value, and every enum with a type.

    A list of ``items`` becomes ``prefixItems``, and ``maxItems`` part of the description where it allows too much.
    Gemini ignores an enum without a type, refuses OpenAPI's ``discriminator``, and may take a ``title`` in the
    parameters of a tool for a function to call; without ``titles`` they are left out. A reference beside other keywords
    gets an ``anyOf`` of its own.
    """
    left_out = ("discriminator",) if titles else ("discriminator", "title")
    return _translated(schema, left_out, cache(lambda: _values(schema, _defined_values(schema)) > _MOST_VALUES))


def _translated(schema: Schema, left_out: tuple[str, ...], has_too_many: Callable[[], bool]) -> Schema:
    result = _with_reference_apart({key: value for key, value in restated(schema).items() if key not in left_out})
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if "type" not in result and (kind := _type_of(result.get("enum"))) is not None:
        result["type"] = kind
    if "maxItems" in result and has_too_many():
        result["description"] = describe(result.get("description"), {"maxItems": result.pop("maxItems")})
    return with_subschemas(result, partial(_translated, left_out=left_out, has_too_many=has_too_many))


def _with_reference_apart(schema: Schema) -> Schema:
    """``schema`` with a reference as the one choice of an ``anyOf``.

    Beside a reference Gemini takes nothing but what begins with ``$`` (google-gemini/gemini-cli issue 4758,
    anomalyco/opencode issue 12295), and it knows no ``allOf``, which OpenAPI and older Pydantic put around one.
    """
    match schema:
        case {"anyOf": _}:
            return schema
        case {"$ref": str(target), **other} if not all(key.startswith("$") for key in other):
            return {"anyOf": [{"$ref": target}]} | other
        case {"allOf": [{"$ref": str()} as reference], **other}:
            return {"anyOf": [reference]} | other
    return schema


def _defined_values(schema: Schema) -> dict[str, int]:
    """How many values each definition describes, by the reference to it."""
    defined = definitions(schema)
    counts: dict[str, int] = {}
    for _ in range(_MOST_LEVELS):
        counts = {reference: _values(inner, counts) for reference, inner in defined.items()}
    return counts


def _values(schema: Schema, defined: Mapping[str, int]) -> int:
    """How many values ``schema`` describes, those in an array as often as ``maxItems`` allows."""
    inner = sum(_values(subschema, defined) for subschema in subschemas(schema))
    if isinstance(reference := schema.get("$ref"), str):
        inner += defined.get(reference, 0)
    most = schema.get("maxItems")
    return 1 + inner * (most if isinstance(most, int) else 1)


def _type_of(values: Any) -> str | None:
    """The one type that all values of an enum have."""
    types = {_TYPES.get(type(value)) for value in values} if isinstance(values, list) else set()
    return types.pop() if len(types) == 1 else None


def takes_arguments(schema: Schema) -> bool:
    """False for the schema of a tool without arguments, which Gemini requires to be left out."""
    return bool(
        schema.get("properties")
        or any(key in schema for key in _SHAPES)
        or isinstance(schema.get("additionalProperties"), dict)
        or schema.get("additionalProperties") is True
    )
