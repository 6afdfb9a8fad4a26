from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.errors import GatewayError
from gateway.upstreams.anthropic.schema import restrict

PARAM = "response_format.json_schema.schema"


def relaxed(schema: dict[str, Any]) -> dict[str, Any]:
    return restrict(schema, lossless=False, param=PARAM)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, {"type": "string"}),
        (
            {"$schema": "x", "type": "object", "properties": {"minimum": {"type": "integer", "minimum": 1}}},
            {
                "type": "object",
                "properties": {"minimum": {"type": "integer", "description": "(minimum: 1)"}},
                "additionalProperties": False,
            },
        ),
        (
            {"type": "object", "additionalProperties": True, "description": "A map"},
            {
                "type": "object",
                "additionalProperties": False,
                "description": "A map (additionalProperties: true)",
            },
        ),
        (
            {"type": "array", "minItems": 3, "maxItems": 5, "items": {"oneOf": [{"const": 1}, {"type": "null"}]}},
            {
                "type": "array",
                "items": {"anyOf": [{"const": 1}, {"type": "null"}]},
                "description": "(minItems: 3; maxItems: 5)",
            },
        ),
        (
            {"anyOf": [{"type": "integer"}, {"type": "string"}], "oneOf": [{"type": "integer"}]},
            {"anyOf": [{"type": "integer"}, {"type": "string"}], "description": '(oneOf: [{"type":"integer"}])'},
        ),
        ({"enum": ["a", 1, True, None]}, {"enum": ["a", 1, True, None]}),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"enum": ["a", None]}),
        ({"type": "string", "enum": ["a", None]}, {"enum": ["a", None]}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "integer", "enum": [1, 2]}),
        ({"type": {}, "enum": "a"}, {"type": {}, "enum": "a"}),
        ({"type": "file", "enum": ["a"]}, {"type": "file", "enum": ["a"]}),
        ({"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"type": "array", "enum": [[1], []]}, {"type": "array", "description": "(enum: [[1],[]])"}),
        (
            {"type": "object", "const": {"a": 1}},
            {"type": "object", "additionalProperties": False, "description": '(const: {"a":1})'},
        ),
        ({"type": "array", "minItems": 1}, {"type": "array", "minItems": 1}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "string", "format": "iban"}, {"type": "string", "description": '(format: "iban")'}),
        ({"type": "string", "pattern": "^a+$"}, {"type": "string", "pattern": "^a+$"}),
        ({"type": "string", "pattern": "(?=a)"}, {"type": "string", "description": '(pattern: "(?=a)")'}),
        ({"type": "string", "pattern": r"\\1"}, {"type": "string", "pattern": r"\\1"}),
        ({"type": "string", "pattern": r"(a)\1"}, {"type": "string", "description": r'(pattern: "(a)\\1")'}),
        ({"type": "string", "pattern": r"\ba"}, {"type": "string", "description": r'(pattern: "\\ba")'}),
        ({"type": "string", "pattern": "(?P=a)"}, {"type": "string", "description": '(pattern: "(?P=a)")'}),
        (
            {"type": "array", "prefixItems": [{"type": "string"}]},
            {"type": "array", "description": '(prefixItems: [{"type":"string"}])'},
        ),
        (
            {"type": "array", "items": [{"type": "string"}]},
            {"type": "array", "description": '(items: [{"type":"string"}])'},
        ),
        (
            {"type": "array", "prefixItems": [{"type": "string"}], "items": False},
            {"type": "array", "description": '(prefixItems: [{"type":"string"}]; items: false)'},
        ),
        (
            {"type": "array", "items": [{"type": "string"}], "additionalItems": False},
            {"type": "array", "description": '(items: [{"type":"string"}]; additionalItems: false)'},
        ),
        (
            {"allOf": [{"$ref": "#/$defs/a"}], "description": "An a", "$defs": {"a": {"type": "string"}}},
            {"$ref": "#/$defs/a", "description": "An a", "$defs": {"a": {"type": "string"}}},
        ),
        (
            {
                "type": "string",
                "allOf": [{"$ref": "#/$defs/a"}, {"type": "string"}],
                "$defs": {"a": {"type": "string"}},
            },
            {
                "type": "string",
                "$defs": {"a": {"type": "string"}},
                "description": '(allOf: [{"$ref":"#/$defs/a"},{"type":"string"}])',
            },
        ),
        ({"allOf": [{"type": "string"}]}, {"allOf": [{"type": "string"}]}),
        (
            {"type": ["object", "null"], "properties": {}},
            {"type": ["object", "null"], "properties": {}, "additionalProperties": False},
        ),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "number", "multipleOf": 2}}},
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "number", "description": "(multipleOf: 2)"}}},
        ),
    ],
)
def test_what_is_not_enforced_becomes_a_description(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    before = repr(schema)
    assert relaxed(schema) == expected
    assert repr(schema) == before


CAT = {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]}
CLOSED_CAT = CAT | {"additionalProperties": False}


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (
            {"type": "string", "examples": ["Oslo"], "x-order": 1, "description": "A city"},
            {"type": "string", "description": 'A city (examples: ["Oslo"]; x-order: 1)'},
        ),
        (
            {"oneOf": [{"$ref": "#/$defs/cat"}, {"type": "null"}], "discriminator": {"propertyName": "kind"}},
            {"anyOf": [{"$ref": "#/$defs/cat"}, {"type": "null"}]},
        ),
        (
            {"type": "object", "oneOf": [CAT], "additionalProperties": False, "title": "Pet"},
            {"anyOf": [CLOSED_CAT], "title": "Pet"},
        ),
        (
            {"type": "object", "anyOf": [{"properties": CAT["properties"]}]},
            {"anyOf": [{"type": "object", "properties": CAT["properties"], "additionalProperties": False}]},
        ),
        (
            {"properties": {"a": CAT}},
            {"type": "object", "properties": {"a": CLOSED_CAT}, "additionalProperties": False},
        ),
    ],
)
def test_annotations_and_repetitions_are_moved_or_left_out(
    schema: dict[str, Any], expected: dict[str, Any], *, lossless: bool
) -> None:
    """Anthropic takes no keyword that it does not know, and none beside a union that shapes a value."""
    assert restrict(schema, lossless=lossless, param=PARAM) == expected


@pytest.mark.parametrize(
    "union",
    [
        {"anyOf": [{"required": ["kind"]}, {"required": ["name"]}]},
        {"oneOf": [CAT]},
        {"allOf": [CAT]},
        {"anyOf": "cat"},
    ],
)
def test_a_union_beside_an_object_is_described(union: dict[str, Any]) -> None:
    assert relaxed(CAT | union).items() >= CLOSED_CAT.items()
    assert relaxed(CAT | union).keys() - CLOSED_CAT.keys() == {"description"}
    with pytest.raises(GatewayError) as caught:
        restrict(CAT | union, lossless=True, param=PARAM)
    assert caught.value.param == f"{PARAM}.{next(iter(union))}"


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize(
    ("keyword", "schema"),
    [
        ("oneOf", CAT | {"oneOf": [{"properties": {"lives": {"type": "integer"}}}, {"required": ["lives"]}]}),
        ("allOf", CAT | {"allOf": [{"$ref": "#/$defs/Pet"}]}),
        ("allOf", {"type": "object", "allOf": [CAT]}),
        ("allOf", {"$ref": "#/$defs/Pet", "allOf": [CAT]}),
        ("allOf", {"oneOf": [CAT], "allOf": [{"properties": {"name": {"type": "string"}}}]}),
    ],
)
def test_an_object_is_not_closed_without_properties_that_a_union_adds(
    keyword: str, schema: dict[str, Any], *, lossless: bool
) -> None:
    """The answer could have none of them."""
    with pytest.raises(GatewayError) as caught:
        restrict({"anyOf": [schema]}, lossless=lossless, param=PARAM)
    assert (caught.value.status, caught.value.param) == (400, f"{PARAM}.anyOf[0].{keyword}")


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("value", [{}, {"title": "Any"}, {"examples": [1]}, {"type": "array", "items": {}}, True])
def test_values_of_any_type_are_refused(value: Any, *, lossless: bool) -> None:
    """Pydantic's ``Any`` and zod's ``any()``; Anthropic refuses them without a name of the property."""
    with pytest.raises(GatewayError, match="must have a type") as caught:
        restrict({"type": "object", "properties": {"a": value}}, lossless=lossless, param=PARAM)
    place = ".items" if isinstance(value, dict) and "items" in value else ""
    assert caught.value.param == f"{PARAM}.properties.a{place}"


def test_strict_keeps_a_schema_that_is_enforced_as_it_is() -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    assert restrict(schema, lossless=True, param=PARAM) == schema


def test_the_bounds_of_all_integers_are_not_sent() -> None:
    """Vercel's AI SDK, strict by default, sends zod's schema of an integer."""
    bounded = {"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991}
    assert restrict(bounded, lossless=True, param=PARAM) == relaxed(bounded) == {"type": "integer"}
    assert relaxed({"const": None, "default": None}) == {"const": None, "default": None}


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        ({"type": "string", "minLength": 2}, f"{PARAM}.minLength"),
        (
            {"type": "object", "properties": {"a": {"items": {"maximum": 3}}}},
            f"{PARAM}.properties.a.items.maximum",
        ),
        ({"anyOf": [{"type": "object", "additionalProperties": {}}]}, f"{PARAM}.anyOf[0].additionalProperties"),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, f"{PARAM}.prefixItems"),
        ({"allOf": [{"$ref": "#/$defs/a"}, {}], "$defs": {"a": {"type": "null"}}}, f"{PARAM}.allOf"),
    ],
)
def test_strict_refuses_what_would_be_lost(schema: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        restrict(schema, lossless=True, param=PARAM)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, "unsupported_value")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"child": {"$ref": "#"}}},
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}},
        },
        {"definitions": {"a": {"properties": {"x": {"$ref": "#/definitions/a"}}}}},
    ],
)
def test_recursion_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(GatewayError) as caught:
        relaxed(schema)
    assert (caught.value.status, caught.value.param) == (400, PARAM)


def test_a_schema_too_deep_to_walk_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"items": schema}
    with pytest.raises(GatewayError, match="nested too deeply"):
        relaxed(schema)


KEYWORDS = st.sampled_from(
    ["type", "properties", "$defs", "$ref", "items", "anyOf", "oneOf", "format", "pattern", "minItems", "description"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["object", "#", "#/$defs/a", "date"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS | st.just("a"), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(KEYWORDS, ANYTHING, max_size=5), st.booleans())
def test_nonsense_is_passed_on_or_refused(schema: dict[str, Any], lossless: bool) -> None:
    try:
        restricted = restrict(schema, lossless=lossless, param=PARAM)
    except GatewayError as error:
        assert (error.param or "").startswith(PARAM)  # noqa: PT017 - either end is right, and each has its mark
    else:
        assert restricted.get("additionalProperties") in (None, False)
