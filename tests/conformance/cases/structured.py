"""Structured output: JSON mode and JSON schemas."""

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped] # has no types of its own

from tests.conformance.cases.case import Case, answering, user
from tests.conformance.cases.tools import TOOLS

CITY = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "country": {"enum": ["Norway", "Italy"]},
        "mayors": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "country", "mayors"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": CITY}}


def is_a_city(message: dict[str, Any]) -> None:
    jsonschema.validate(json.loads(message["content"]), CITY)


CASES = (
    Case(
        name="a JSON schema",
        parameters={"response_format": FORMAT},
        messages=(user("Tell me about Oslo"),),
        scenario=answering(),
        check=is_a_city,
    ),
    Case(
        name="a JSON object",
        parameters={"response_format": {"type": "json_object"}},
        messages=(user("Tell me about Oslo in JSON"),),
        scenario=answering('{"name": "Oslo"}'),
        texts=('{"name": "Oslo"}',),
    ),
    Case(
        name="a JSON schema beside tools",
        parameters={"response_format": FORMAT, **TOOLS},
        messages=(user("Tell me about Oslo"),),
        scenario=answering(),
        check=is_a_city,
        refused={"claude-sonnet-4-0": "response_format", "gemini-2.5-flash": "response_format"},
    ),
    Case(
        name="plain text, said so",
        parameters={"response_format": {"type": "text"}},
        scenario=answering("Oslo."),
        texts=("Oslo.",),
    ),
)
