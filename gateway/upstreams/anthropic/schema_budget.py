"""How much Claude's structured output enforces in one request (facts/providers.md 3.5, 3.6)."""

from collections.abc import Iterator
from typing import Any

from gateway.upstreams.anthropic.schema import walk
from gateway.upstreams.json_schema import Schema

MAX_TOOLS = 20
MAX_OPTIONAL = 24
"""Properties that are not required."""
MAX_UNIONS = 16
"""Schemas with alternatives, which a property that may be null is as well."""


class SchemaBudget:
    """The limits on all strict tools of a request and ``answer``, the schema of its answer, together."""

    def __init__(self, answer: Schema) -> None:
        self._tools = 0
        self._optional, self._unions = _optional(answer), _unions(answer)

    def take(self, schema: Schema) -> bool:
        """Whether a tool with ``schema`` can be strict beside those before; if so, it counts from here on."""
        optional, unions = self._optional + _optional(schema), self._unions + _unions(schema)
        if self._tools == MAX_TOOLS or optional > MAX_OPTIONAL or unions > MAX_UNIONS:
            return False
        self._tools, self._optional, self._unions = self._tools + 1, optional, unions
        return True


def _optional(schema: Schema) -> int:
    return sum(len(properties.keys() - required) for properties, required in _objects(schema))


def _objects(schema: Schema) -> Iterator[tuple[dict[str, Any], set[str]]]:
    """The properties of every object and the names of those that it requires."""
    for inner in walk(schema):
        properties, required = inner.get("properties"), inner.get("required")
        if isinstance(properties, dict):
            names = required if isinstance(required, list) else ()
            yield properties, {name for name in names if isinstance(name, str)}


def _unions(schema: Schema) -> int:
    return sum("anyOf" in inner or "oneOf" in inner or isinstance(inner.get("type"), list) for inner in walk(schema))
