"""The schemas of tools, of which Anthropic takes plain objects only, and what describes the schema of an answer."""

from typing import Any

import msgspec
import pytest

from tests.upstreams.anthropic_chats import WEATHER, WEATHER_SCHEMA, chat, refusal, sent

UNIONS = ("anyOf", "oneOf", "allOf")
ONE_OF_TWO = [{"required": ["city"]}, {"required": ["place"]}]


def tool(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


@pytest.mark.parametrize("base", [WEATHER_SCHEMA, {}])
@pytest.mark.parametrize("union", UNIONS)
def test_a_union_at_the_top_level_is_refused(union: str, base: dict[str, Any]) -> None:
    """The vendor's 400 says ``tools.1.custom.input_schema``, which is no parameter of the caller's."""
    error = refusal(tools=[WEATHER, tool(base | {union: ONE_OF_TWO})])
    assert (error.status, error.param) == (400, f"tools[1].function.parameters.{union}")


@pytest.mark.parametrize("union", UNIONS)
def test_a_union_is_refused_as_a_schema_that_a_tool_emulates(union: str) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": WEATHER_SCHEMA | {union: ONE_OF_TWO}}}
    error = refusal(model="claude-sonnet-4-0", response_format=wanted)
    assert (error.status, error.param) == (400, f"response_format.json_schema.schema.{union}")


@pytest.mark.parametrize("union", UNIONS)
def test_a_union_inside_a_property_is_sent(union: str) -> None:
    schema = {"type": "object", "properties": {"place": {union: [{"type": "string"}, {"type": "number"}]}}}
    assert sent(chat(tools=[tool(schema)]))["tools"][0]["input_schema"] == schema


PAIR = [{"type": "string"}, {"type": "integer"}]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"items": PAIR}, {"prefixItems": PAIR}),
        ({"items": PAIR, "additionalItems": False}, {"prefixItems": PAIR, "items": False}),
        ({"items": [{"items": PAIR}]}, {"prefixItems": [{"prefixItems": PAIR}]}),
        ({"items": PAIR, "additionalItems": {"items": PAIR}}, {"prefixItems": PAIR, "items": {"prefixItems": PAIR}}),
        ({"items": [], "additionalItems": False}, {"items": False}),
        ({"prefixItems": PAIR, "items": {"type": "null"}}, {"prefixItems": PAIR, "items": {"type": "null"}}),
        ({"items": {"type": "null"}, "additionalItems": True}, {"items": {"type": "null"}, "additionalItems": True}),
        ({"minimum": 0, "exclusiveMinimum": True, "maximum": 9}, {"exclusiveMinimum": 0, "maximum": 9}),
        ({"items": {"maximum": 9, "exclusiveMaximum": True}}, {"items": {"exclusiveMaximum": 9}}),
        ({"minimum": 0, "exclusiveMinimum": False, "exclusiveMaximum": True}, {"minimum": 0}),
        ({"minimum": 0, "exclusiveMinimum": 1}, {"minimum": 0, "exclusiveMinimum": 1}),
    ],
)
def test_older_drafts_are_sent_as_draft_2020_writes_them(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Anthropic refuses their tuples and bounds, which zod and many MCP servers write, with the whole request."""
    given, expected = ({"type": "object", "properties": {"pair": pair, "items": {}}} for pair in (old, new))
    before = msgspec.json.encode(given)
    assert sent(chat(tools=[tool(given)]))["tools"][0]["input_schema"] == expected
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": given}}
    assert sent(chat("claude-sonnet-4-0", response_format=wanted))["tools"][0]["input_schema"] == expected
    assert msgspec.json.encode(given) == before


ONE_SUBSCHEMA = ("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then")
NAMED_SUBSCHEMAS = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
LISTED_SUBSCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")


def test_tuples_are_found_wherever_there_are_schemas() -> None:
    def with_tuples(pair: dict[str, Any]) -> dict[str, Any]:
        inner: dict[str, Any] = dict.fromkeys(ONE_SUBSCHEMA, pair)
        inner |= {keyword: {"a": pair, "b": True} for keyword in NAMED_SUBSCHEMAS}
        inner |= {keyword: [pair, False] for keyword in LISTED_SUBSCHEMAS}
        return {"type": "object", "properties": {"a": inner}}

    given = with_tuples({"items": PAIR})
    assert sent(chat(tools=[tool(given)]))["tools"][0]["input_schema"] == with_tuples({"prefixItems": PAIR})


def test_what_is_no_schema_is_left_to_the_vendor_to_refuse() -> None:
    inner = dict.fromkeys((*ONE_SUBSCHEMA, *NAMED_SUBSCHEMAS, *LISTED_SUBSCHEMAS))
    given = {"type": "object", "properties": {"a": inner}}
    assert sent(chat(tools=[tool(given)]))["tools"][0]["input_schema"] == given


@pytest.mark.parametrize("kind", ["array", ["object", "null"], None])
def test_another_type_than_object_is_refused(kind: Any) -> None:
    error = refusal(tools=[tool({"type": kind})])
    assert (error.status, error.param) == (400, "tools[0].function.parameters.type")
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": kind}}}
    error = refusal(model="claude-sonnet-4-0", response_format=wanted)
    assert (error.status, error.param) == (400, "response_format.json_schema.schema.type")


@pytest.mark.parametrize(
    ("schema", "description"),
    [
        (WEATHER_SCHEMA, "A place."),
        (WEATHER_SCHEMA | {"minProperties": 1}, "A place. (minProperties: 1)"),
        (WEATHER_SCHEMA | {"description": "Its own."}, "Its own."),
    ],
)
def test_the_description_of_the_answers_format_is_its_schemas(schema: dict[str, Any], description: str) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "description": "A place."}}
    body = sent(chat(response_format=wanted))
    expected = WEATHER_SCHEMA | {"additionalProperties": False, "description": description}
    assert body["output_config"]["format"]["schema"] == expected
