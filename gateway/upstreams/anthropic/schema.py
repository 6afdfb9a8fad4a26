"""Reduces JSON Schemas to the subset that Claude's structured output enforces (facts/providers.md 3.6)."""

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

from gateway.openai_api.errors import GatewayError, unsupported_value
from gateway.upstreams.json_schema import IRREGULAR, Schema, definitions, describe

_CONSTRAINTS = frozenset(
    {
        "additionalItems",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "if",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
    }
)
"""Keywords that are never enforced."""
_UNIONS = ("anyOf", "oneOf", "allOf")
_SUPPORTED = frozenset(
    {
        *_UNIONS,
        "$defs",
        "$ref",
        "additionalProperties",
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
"""Anthropic refuses all others, annotations too: "For 'object' type, property 'x' is not supported"."""
_SHAPES = frozenset({"$ref", "additionalProperties", "items", "properties", "required", "type"})
"""Keywords that Anthropic refuses beside a union: "For 'anyOf', 'type' is not supported"."""
_KINDS = frozenset({"$ref", "allOf", "anyOf", "const", "enum", "oneOf", "type"})
"""Keywords of which each schema needs one: "Schema type is missing"."""
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_META = frozenset({"$schema", "$id", "$comment", "discriminator"})
_SAFE_INTEGERS = {"minimum": -(2**53) + 1, "maximum": 2**53 - 1}
"""The bounds that zod gives to every integer; they exclude none that JavaScript has."""
_CLASSES = {"string": str, "integer": int, "number": int | float, "boolean": bool, "null": type(None)}
"""What a value of each type is in Python."""
_MAPS = frozenset({"properties", "$defs", "definitions"})
_LISTS = frozenset({"anyOf", "allOf"})

_Place = tuple[Any, str]
"""A place in the caller's request: the place around it and the step from there. Only an error needs the whole path,
and names can be long."""


def restrict(schema: Schema, *, lossless: bool, param: str) -> Schema:
    """``schema`` with every object closed and every unenforced constraint moved into its description.

    With ``lossless`` (the caller set ``strict``) an unenforced constraint raises 400 instead. Recursion always does,
    a schema of values of any type, and an object that could have none of the properties that a union beside it names.
    """
    try:
        if _is_recursive(schema):
            raise unsupported_value(f"Invalid '{param}': recursive schemas are not supported with this model.", param)
        return _restrict(schema, lossless, ((), param))
    except RecursionError:
        raise unsupported_value(f"Invalid '{param}': the schema is nested too deeply.", param) from None


def keeps_meaning(schema: Schema) -> bool:
    """Whether structured output has room for what ``schema`` describes.

    It closes every object: one whose properties are not all named could only be empty.
    """
    try:
        restrict(schema, lossless=False, param="")
    except GatewayError:
        return False
    return not any(_is_open(inner) for inner in walk(schema))


def walk(schema: Any) -> Iterator[Schema]:
    """``schema`` and the schemas in it, where structured output has any; none for what is no object."""
    if isinstance(schema, dict):
        yield schema
        for keyword, value in schema.items():
            for inner in _inner(keyword, value):
                yield from walk(inner)


def _inner(keyword: str, value: Any) -> Iterable[Any]:
    if keyword in _MAPS and isinstance(value, dict):
        return value.values()
    if keyword in (*_LISTS, "oneOf") and isinstance(value, list):
        return value
    return (value,) if keyword == "items" else ()


def _restrict(schema: Schema, lossless: bool, place: _Place) -> Schema:
    schema = _unwrapped(schema)
    kept, lost = _divided(schema, lossless, place)
    if "properties" in kept or "object" in _types(kept):
        kept = {"type": "object", **kept, "additionalProperties": False}
    if lossless:
        _check_annotations(lost, place)
    _check_added_properties(kept, lost, place)
    if not kept.keys() & _KINDS:
        raise _untyped(place)
    if lost:
        kept["description"] = describe(schema.get("description"), lost)
    return kept


def _divided(schema: Schema, lossless: bool, place: _Place) -> tuple[Schema, Schema]:
    """What is enforced of ``schema``, its subschemas restricted, and the keywords that are not."""
    kept: Schema = {}
    lost: Schema = {}
    union = _union(schema)
    for keyword, value in schema.items():
        if keyword in _META or (keyword in _SAFE_INTEGERS and value == _SAFE_INTEGERS[keyword]):
            continue
        if keyword == union or (keyword not in _UNIONS and _is_enforced(keyword, value)):
            name = "anyOf" if keyword == "oneOf" else keyword
            kept[name] = _descend(name, value, lossless, (place, f".{keyword}"))
        else:
            lost[keyword] = value
    if union is not None:
        kept = {keyword: value for keyword, value in kept.items() if keyword not in _SHAPES}
    elif _contradicts(kept.get("enum"), kept.get("type")):
        del kept["type"]
    return kept, lost


def _check_annotations(lost: Schema, place: _Place) -> None:
    """Raise 400 if a keyword in ``lost`` is more than an annotation."""
    for keyword in lost:
        if keyword in _CONSTRAINTS or keyword in _SUPPORTED:
            param = _path(place)
            raise unsupported_value(
                f"Invalid '{param}': '{keyword}' cannot be enforced with this model; omit 'strict' to send it "
                "as a description.",
                f"{param}.{keyword}",
            )


def _check_added_properties(kept: Schema, lost: Schema, place: _Place) -> None:
    """Raise 400 if a union in ``lost`` adds properties to the objects of ``kept``, which are closed without them."""
    if not kept.keys() & {"$ref", "additionalProperties", "allOf", "anyOf"}:
        return
    for keyword in _UNIONS:
        alternatives = [inner for inner in _inner(keyword, lost.get(keyword)) if isinstance(inner, dict)]
        if any("$ref" in inner or _names(inner) - _names(kept) for inner in alternatives):
            param = _path(place)
            raise unsupported_value(
                f"Invalid '{param}': '{keyword}' cannot add properties to an object with this model.",
                f"{param}.{keyword}",
            )


def _names(schema: Schema) -> set[str]:
    properties = schema.get("properties")
    return set(properties) if isinstance(properties, dict) else set()


def _untyped(place: _Place) -> GatewayError:
    param = _path(place)
    return unsupported_value(f"Invalid '{param}': a schema must have a type with this model.", param)


def _union(schema: Schema) -> str | None:
    """The union in ``schema`` that is sent: the only one, and where its alternatives say all about their shape."""
    keyword = next((keyword for keyword in _UNIONS if keyword in schema), None)
    if keyword is None or not _is_union(keyword, schema[keyword]):
        return None
    beside = schema.keys() & _SHAPES
    repeated = beside <= {"type", "additionalProperties"} and not schema.get("additionalProperties")
    complete = all(inner.keys() & {*_KINDS, "properties"} for inner in schema[keyword])
    return keyword if not beside or (repeated and complete) else None


def _is_union(keyword: str, alternatives: Any) -> bool:
    """Anthropic refuses references in ``allOf``; objects in it would close each other."""
    if not isinstance(alternatives, list) or not all(isinstance(inner, dict) for inner in alternatives):
        return False
    return keyword != "allOf" or not any(inner.keys() & {"$ref", "properties"} for inner in alternatives)


def _unwrapped(schema: Schema) -> Schema:
    """``schema`` with its reference in place of an ``allOf`` around that alone, which Pydantic writes."""
    match schema:
        case {"allOf": [{"$ref": str(target), **other}], **rest} if (
            not other and not {"$ref", "properties"} & rest.keys()
        ):
            return rest | {"$ref": target}
    return schema


def _descend(keyword: str, value: Any, lossless: bool, place: _Place) -> Any:
    if keyword in _MAPS and isinstance(value, dict):
        return {name: _restrict_subschema(inner, lossless, (place, f".{name}")) for name, inner in value.items()}
    if keyword in _LISTS and isinstance(value, list):
        return [_restrict_subschema(inner, lossless, (place, f"[{index}]")) for index, inner in enumerate(value)]
    return _restrict_subschema(value, lossless, place) if keyword == "items" else value


def _restrict_subschema(schema: Any, lossless: bool, place: _Place) -> Any:
    """A subschema; ``true`` and ``false`` are of any type."""
    if not isinstance(schema, dict):
        raise _untyped(place)
    return _restrict(schema, lossless, place)


def _path(place: _Place) -> str:
    """The JSON path of ``place``."""
    outer, step = place
    return (_path(outer) if outer else "") + step


def _is_enforced(keyword: str, value: Any) -> bool:
    match keyword:
        case "minItems":
            return value in (0, 1)
        case "enum":
            return not (isinstance(value, list) and any(isinstance(item, dict | list) for item in value))
        case "const":
            return not isinstance(value, dict | list)
        case "format":
            return isinstance(value, str) and value in _FORMATS
        case "pattern":
            return isinstance(value, str) and not IRREGULAR.search(value)
        case "additionalProperties":
            return value is False
        case "items":
            return isinstance(value, dict)
    return keyword in _SUPPORTED


def _types(schema: Schema) -> tuple[Any, ...]:
    kind = schema.get("type")
    return tuple(kind) if isinstance(kind, list) else (kind,)


def _contradicts(values: Any, kind: Any) -> bool:
    """Whether Anthropic refuses an enum beside its type: "Enum value 'a' does not match declared type"."""
    if not isinstance(values, list):
        return False
    if isinstance(kind, str) and kind in _CLASSES:
        return not all(isinstance(value, _CLASSES[kind]) for value in values)
    return isinstance(kind, list)


def _is_open(schema: Schema) -> bool:
    """Whether ``schema`` is of objects with properties that it does not name."""
    unnamed = "object" in _types(schema) and not schema.get("properties") and _union(schema) is None
    others = schema.get("additionalProperties", unnamed)
    return others is True or isinstance(others, dict) or bool(schema.get("patternProperties"))


def _is_recursive(schema: Schema) -> bool:
    """A local ``$ref`` leads back to itself."""
    links = {reference: set(_references(inner)) for reference, inner in definitions(schema).items()}
    try:
        TopologicalSorter(links).prepare()
    except CycleError:
        return True
    return "#" in _references(schema)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(target := schema.get("$ref"), str):
            yield target
        for inner in schema.values():
            yield from _references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _references(inner)
