"""Parameters of tools as xAI compiles them.

It refuses others with nothing but "Invalid arguments passed to the model": enums with a slash in a value, such as media
types, patterns that look around, such as Pydantic's of a Decimal, and a tool without parameters (NousResearch/
hermes-agent PR 28021, dirac-run/dirac issue 58).
"""

from typing import Any

from gateway.upstreams.json_schema import IRREGULAR, Schema, describe, restated, with_subschemas

_NO_ARGUMENTS: Schema = {"type": "object", "properties": {}}


def compilable(parameters: Schema | None) -> Schema:
    """A copy of a tool's ``parameters`` that describes what cannot be compiled."""
    return _compilable(parameters or _NO_ARGUMENTS)


def _compilable(schema: Schema) -> Schema:
    schema = restated(schema)
    lost = {keyword: value for keyword, value in schema.items() if _is_refused(keyword, value)}
    if lost:
        schema = {keyword: value for keyword, value in schema.items() if keyword not in lost}
        schema["description"] = describe(schema.get("description"), lost)
    return with_subschemas(schema, _compilable)


def _is_refused(keyword: str, value: Any) -> bool:
    match keyword:
        case "enum":
            return isinstance(value, list) and any(isinstance(item, str) and "/" in item for item in value)
        case "pattern":
            return isinstance(value, str) and bool(IRREGULAR.search(value))
    return False
