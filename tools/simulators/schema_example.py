"""One value that satisfies a JSON Schema, the same one every time."""

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 12


def example(schema: Mapping[str, Any], word: str = "example") -> Any:
    """A small value of `schema`; strings become `word`, only required properties are filled.

    Covers $ref into the same document, anyOf/oneOf/allOf, const, enum, type lists and OpenAPI's upper-case
    types. A schema that recurses through required properties ends in None at depth 12.
    """
    return _value(schema, schema, word, 0)


def _value(schema: Any, root: Mapping[str, Any], word: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return None
    if "$ref" in schema:
        return _value(_resolve(schema["$ref"], root), root, word, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            return _value(schema[key][0], root, word, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "null"
    return _of_type(str(kind).lower(), schema, root, word, depth)


def _of_type(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], word: str, depth: int) -> Any:
    match kind:
        case "object":
            return _object(schema, root, word, depth)
        case "array":
            return [_value(schema["items"], root, word, depth + 1)] if "items" in schema else []
        case "string":
            return _FORMATS.get(schema.get("format", ""), word)
        case "integer":
            return schema.get("minimum", 1)
        case "number":
            return schema.get("minimum", 1.5)
        case "boolean":
            return True
    return None


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], word: str, depth: int) -> Any:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    required = schema.get("required")
    wanted = [name for name in required if isinstance(name, str)] if isinstance(required, list) else list(properties)
    return {name: _value(properties.get(name, {}), root, word, depth + 1) for name in wanted}


_FORMATS = {
    "date": "2026-11-22",
    "date-time": "2026-11-22T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def _resolve(reference: Any, root: Mapping[str, Any]) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    node: Any = root
    for step in reference[1:].split("/"):
        if step:
            node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    return node
