"""JSON Schemas of tools and answers as Gemini takes them (facts/providers.md 5.2)."""

import json
from typing import Any

import pytest

from gateway.upstreams.gemini.schema import translate
from tests.upstreams.gemini_chats import (
    FLASH,
    chat,
    config,
    sent,
    tool,
)


def test_the_schema_of_an_answer_may_be_described_and_refer_to_itself() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"$ref": "#/$defs/Node", "$defs": {"Node": node}}
    wanted = {"type": "json_schema", "json_schema": {"name": "list", "schema": schema, "description": "A list."}}
    assert config(response_format=wanted)["responseJsonSchema"] == {
        "anyOf": [{"$ref": "#/$defs/Node"}],
        "description": "A list.",
        "$defs": {"Node": node},
    }


@pytest.mark.parametrize(
    ("values", "known"),
    [(["a", "b"], "string"), ([1.5], "number"), (["a", None], None), ([1, True], None), ([{}], None), ([], None)],
)
def test_an_enum_gets_the_type_of_its_values(values: list[Any], known: str | None) -> None:
    assert translate({"enum": values}) == ({"type": known} if known else {}) | {"enum": values}
    assert translate({"type": "string", "enum": values}) == {"type": "string", "enum": values}


def test_what_gemini_fails_on_is_left_out_of_a_schema() -> None:
    branch = {"title": "A", "type": "object", "properties": {"title": {"title": "Title", "type": "string"}}}
    union = {
        "discriminator": {"propertyName": "title", "mapping": {"a": "#/$defs/A"}},
        "oneOf": [{"$ref": "#/$defs/A"}],
    }
    schema = {"title": "T", "type": "object", "properties": {"discriminator": union}, "$defs": {"A": branch}}
    plain = {"type": "object", "properties": {"title": {"type": "string"}}}
    properties = {"discriminator": {"oneOf": [{"$ref": "#/$defs/A"}]}}
    body = sent(chat(FLASH, tools=[tool("f", schema)]))
    assert body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == {
        "type": "object",
        "properties": properties,
        "$defs": {"A": plain},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "f", "schema": schema}}
    assert config(response_format=wanted)["responseJsonSchema"] == schema | {"properties": properties}


def test_const_becomes_an_enum_of_one_at_every_depth_but_not_as_a_name() -> None:
    schema = {
        "type": "object",
        "properties": {
            "const": {"const": "a"},
            "list": {"type": "array", "items": {"anyOf": [{"const": 1}, {"type": "null"}]}},
            "pair": {"prefixItems": [{"const": True}], "items": False},
            "old pair": {"items": [{"const": True}], "additionalItems": False},
        },
        "$defs": {"D": {"const": None}},
        "additionalProperties": {"const": 2},
        "default": {"const": 3},
        "examples": [{"const": 4}],
    }
    before = repr(schema)
    assert translate(schema) == {
        "type": "object",
        "properties": {
            "const": {"type": "string", "enum": ["a"]},
            "list": {"type": "array", "items": {"anyOf": [{"type": "integer", "enum": [1]}, {"type": "null"}]}},
            "pair": {"prefixItems": [{"type": "boolean", "enum": [True]}], "items": False},
            "old pair": {"prefixItems": [{"type": "boolean", "enum": [True]}], "items": False},
        },
        "$defs": {"D": {"type": "null", "enum": [None]}},
        "additionalProperties": {"type": "integer", "enum": [2]},
        "default": {"const": 3},
        "examples": [{"const": 4}],
    }
    assert repr(schema) == before


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            {"$ref": "#/$defs/A", "description": "The first", "title": "A", "default": None},
            {"anyOf": [{"$ref": "#/$defs/A"}], "description": "The first", "default": None},
        ),
        (
            {"allOf": [{"$ref": "#/$defs/A"}], "description": "The first"},
            {"anyOf": [{"$ref": "#/$defs/A"}], "description": "The first"},
        ),
        ({"$ref": "#/$defs/A", "title": "A"}, {"$ref": "#/$defs/A"}),
        ({"$ref": "#/$defs/A", "$comment": "A"}, {"$ref": "#/$defs/A", "$comment": "A"}),
        (
            {"allOf": [{"$ref": "#/$defs/A"}, {"required": ["a"]}]},
            {"allOf": [{"$ref": "#/$defs/A"}, {"required": ["a"]}]},
        ),
        ({"$ref": "#/$defs/A", "anyOf": []}, {"$ref": "#/$defs/A", "anyOf": []}),
    ],
)
def test_a_reference_is_apart_from_its_description(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    """Pydantic describes a nested model's field beside its reference, OpenAPI around it."""
    whole = {"type": "object", "properties": {"a": schema}, "$defs": {"A": {"type": "string"}}}
    assert translate(whole, titles=False) == whole | {"properties": {"a": expected}}


def _array(most: int, items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "maxItems": most, "items": items}


TEXT = {"type": "string"}
PAIR = {"type": "object", "properties": {"a": TEXT, "b": TEXT}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {f"list{number}": _array(100, TEXT) for number in range(5)}},
        {"type": "object", "properties": {"pairs": _array(200, PAIR)}},
        {
            "type": "object",
            "properties": {"pairs": _array(30, {"type": "object", "properties": {"l": _array(20, TEXT)}})},
        },
        {"type": "object", "properties": {"pairs": _array(200, {"$ref": "#/$defs/P"})}, "$defs": {"P": PAIR}},
        {
            "type": "object",
            "properties": {"pairs": _array(200, {"$ref": "#/definitions/P"})},
            "definitions": {"P": PAIR},
        },
        {
            "type": "object",
            "properties": {"groups": _array(15, {"$ref": "#/$defs/G"})},
            "$defs": {"G": {"properties": {"pairs": _array(15, {"$ref": "#/$defs/P"})}}, "P": PAIR},
        },
    ],
)
def test_arrays_of_more_values_than_gemini_compiles_have_their_bounds_in_words(schema: dict[str, Any]) -> None:
    sent = translate(schema)
    described = {name: f"(maxItems: {inner['maxItems']})" for name, inner in schema["properties"].items()}
    assert {name: inner["description"] for name, inner in sent["properties"].items()} == described
    assert '"maxItems":' not in json.dumps(sent)


def test_a_described_array_keeps_its_description() -> None:
    schema = {"properties": {"list": _array(1000, TEXT) | {"description": "Texts.", "minItems": 1}}}
    assert translate(schema)["properties"]["list"] == {
        "type": "array",
        "minItems": 1,
        "items": TEXT,
        "description": "Texts. (maxItems: 1000)",
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"list": _array(400, TEXT), "any": {"type": "array", "items": PAIR}}},
        {"type": "object", "properties": {"next": _array(3, {"$ref": "#"})}},
        {"properties": {"l": _array(3, {"$ref": "#/$defs/N"})}, "$defs": {"N": {"items": {"$ref": "#/$defs/N"}}}},
        {"properties": {"odd": {"maxItems": "many", "items": True, "$ref": ["#"]}, "maxItems": {"type": "integer"}}},
    ],
)
def test_arrays_that_gemini_compiles_keep_their_bounds(schema: dict[str, Any]) -> None:
    assert translate(schema) == schema
