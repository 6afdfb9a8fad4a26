"""Every parameter of a chat request with a wrong type or out of range: a 400 that names the field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import ChatRequest, parse_chat

HI = {"role": "user", "content": "Hi"}
BODY: dict[str, Any] = {"model": "gpt-4.1", "messages": [HI]}

STRING, NUMBER, INTEGER, BOOLEAN, ARRAY, OBJECT = "string", "number", "integer", "boolean", "array", "object"
TYPES = {
    "model": (STRING,),
    "messages": (ARRAY,),
    "stream": (BOOLEAN,),
    "stream_options": (OBJECT,),
    "max_tokens": (INTEGER,),
    "max_completion_tokens": (INTEGER,),
    "temperature": (NUMBER,),
    "top_p": (NUMBER,),
    "n": (INTEGER,),
    "stop": (STRING, ARRAY),
    "seed": (INTEGER,),
    "logprobs": (BOOLEAN,),
    "top_logprobs": (INTEGER,),
    "frequency_penalty": (NUMBER,),
    "presence_penalty": (NUMBER,),
    "logit_bias": (OBJECT,),
    "tools": (ARRAY,),
    "tool_choice": (STRING, OBJECT),
    "parallel_tool_calls": (BOOLEAN,),
    "functions": (ARRAY,),
    "function_call": (STRING, OBJECT),
    "response_format": (OBJECT,),
    "reasoning_effort": (STRING,),
    "verbosity": (STRING,),
    "service_tier": (STRING,),
    "user": (STRING,),
    "safety_identifier": (STRING,),
    "metadata": (OBJECT,),
    "store": (BOOLEAN,),
    "modalities": (ARRAY,),
    "audio": (OBJECT,),
    "prediction": (OBJECT,),
    "moderation": (STRING, NUMBER, INTEGER, BOOLEAN, ARRAY, OBJECT),
    "prompt_cache_key": (STRING,),
    "prompt_cache_retention": (STRING,),
    "prompt_cache_options": (OBJECT,),
    "web_search_options": (OBJECT,),
    "reasoning": (OBJECT,),
    "web_search": (BOOLEAN,),
    "top_k": (INTEGER,),
    "repetition_penalty": (NUMBER,),
    "thinking": (OBJECT,),
    "cache_control": (OBJECT,),
    "image_config": (OBJECT,),
    "safety_settings": (ARRAY,),
}
SAMPLES: dict[str, Any] = {STRING: "x", NUMBER: 0.5, INTEGER: 1, BOOLEAN: True, ARRAY: [], OBJECT: {}}


def refusal(**changes: Any) -> tuple[str | None, str | None]:
    """``param`` and ``code`` of the 400 that ``changes`` cause."""
    with pytest.raises(GatewayError) as caught:
        parse_chat({**BODY, **changes})
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    return caught.value.param, caught.value.code


def test_the_table_is_complete() -> None:
    assert TYPES.keys() == set(ChatRequest.__struct_fields__)


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("name", TYPES)
def test_wrong_type(name: str, kind: str) -> None:
    allowed = {*TYPES[name], *([INTEGER] if NUMBER in TYPES[name] else [])}
    if kind not in allowed:
        assert refusal(**{name: SAMPLES[kind]}) == (name, "invalid_type")
    elif name not in ("messages", "response_format"):  # empty ones are refused for what they lack
        parse_chat({**BODY, name: SAMPLES[kind]})


@pytest.mark.parametrize("name", [name for name in TYPES if name not in ("model", "messages")])
def test_null_is_absence(name: str) -> None:
    assert parse_chat({**BODY, name: None}) == parse_chat(BODY)


@pytest.mark.parametrize(
    ("name", "low", "high", "below", "above"),
    [
        ("temperature", 0, 2, -0.01, 2.01),
        ("top_p", 0, 1, -0.01, 1.01),
        ("n", 1, 128, 0, 129),
        ("max_tokens", 1, 10**9, 0, None),
        ("max_completion_tokens", 1, 10**9, 0, None),
        ("top_logprobs", 0, 20, -1, 21),
        ("frequency_penalty", -2, 2, -2.01, 2.01),
        ("presence_penalty", -2, 2, -2.01, 2.01),
        ("top_k", 1, 10**6, -1, None),
    ],
)
def test_range(name: str, low: float, high: float, below: float, above: float | None) -> None:
    for value in (low, high):
        assert getattr(parse_chat({**BODY, name: value}), name) == value
    kind = "integer" if INTEGER in TYPES[name] else "decimal"
    assert refusal(**{name: below}) == (name, f"{kind}_below_min_value")
    if above is not None:
        assert refusal(**{name: above}) == (name, f"{kind}_above_max_value")


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"model": ""}, "model", "invalid_value"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": [HI, None]}, "messages[1]", "invalid_type"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "x - at `$.model`", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        *(
            ({"messages": [{"role": role, "content": [part]}]}, "messages[0].content[0].type", code)
            for role in ("system", "developer", "user", "assistant")
            for part, code in (
                ({"text": "x"}, "missing_required_parameter"),
                ({"type": "sound", "text": "x"}, "invalid_value"),
                ({"type": None, "text": "x"}, "invalid_type"),
            )
        ),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]", "invalid_type"),
        (
            {"messages": [HI, {"role": "user", "content": [{"type": "text"}]}]},
            "messages[1].content[0].text",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 7}}]}]},
            "messages[0].content[0].image_url.url",
            "invalid_type",
        ),
        (
            {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA=="}}]}]},
            "messages[0].content[0].input_audio.format",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"format": "wav"}}]}]},
            "messages[0].content[0].input_audio.data",
            "missing_required_parameter",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_audio", "input_audio": {"data": "AA==", "url": "https://a.example"}}
                        ],
                    }
                ]
            },
            "messages[0].content[0].input_audio",
            "invalid_value",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "missing_required_parameter"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {}}]}]},
            "messages[0].tool_calls[0].function.name",
            "missing_required_parameter",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": {}}}],
                    }
                ]
            },
            "messages[0].tool_calls[0].function.arguments",
            "invalid_type",
        ),
        ({"tools": [{"type": "gadget"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name", "invalid_value"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
            "invalid_type",
        ),
        ({"stop": ["a", 1]}, "stop[1]", "invalid_type"),
        ({"logit_bias": {"1": 5, "50256": 100.5, "2": 5}}, "logit_bias.50256", "decimal_above_max_value"),
        ({"metadata": {"a": "x", "b.c": 1, "d": 2}}, "metadata.b.c", "invalid_type"),
        ({"modalities": [1]}, "modalities[0]", "invalid_type"),
        ({"response_format": {}}, "response_format.type", "missing_required_parameter"),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            "response_format.json_schema.name",
            "missing_required_parameter",
        ),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", "invalid_type"),
        ({"invented": 1}, "invented", "unknown_parameter"),
        ({"extra_body": None}, "extra_body", "unknown_parameter"),
        ({"ignore_eos": True}, "ignore_eos", "unknown_parameter"),
        ({"usage": {"include": False}}, "usage", "unknown_parameter"),
    ],
)
def test_path_and_code(changes: dict[str, Any], param: str, code: str) -> None:
    assert refusal(**changes) == (param, code)


@pytest.mark.parametrize("name", ["model", "messages"])
def test_required(name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_chat({key: value for key, value in BODY.items() if key != name})
    assert (caught.value.param, caught.value.code) == (name, "missing_required_parameter")
    assert caught.value.message == f"Missing required parameter: '{name}'."


def test_message_of_a_wrong_type_reads_like_openai() -> None:
    with pytest.raises(GatewayError, match=r"^Invalid 'stop\[1\]': expected 'str', got 'int'\.$"):
        parse_chat({**BODY, "stop": ["a", 1]})


def test_message_of_a_wrong_value_names_its_key_and_not_the_object() -> None:
    with pytest.raises(GatewayError, match=r"^Invalid 'metadata\.tries': expected 'str', got 'int'\.$"):
        parse_chat({**BODY, "metadata": {"name": "a", "tries": 1}})


def test_what_a_request_says_of_itself() -> None:
    plain = parse_chat(BODY)
    assert (plain.include_usage, plain.choices, plain.output_tokens, plain.stops) == (False, 1, None, [])
    full = parse_chat(
        {
            **BODY,
            "n": 3,
            "max_tokens": 7,
            "max_completion_tokens": 9,
            "stop": "x",
            "stream_options": {"include_usage": True},
        }
    )
    assert (full.include_usage, full.choices, full.output_tokens, full.stops) == (True, 3, 9, ["x"])
    assert parse_chat({**BODY, "max_tokens": 7, "stop": ["a", "b"]}).output_tokens == 7
    assert parse_chat({**BODY, "stop": ["a", "b"]}).stops == ["a", "b"]


def test_unknown_keys_inside_messages_are_left_alone() -> None:
    parse_chat({**BODY, "messages": [{**HI, "invented": 1}]})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(TYPES)), json_values))
def test_any_json_is_typed_or_refused(changes: dict[str, Any]) -> None:
    try:
        request = parse_chat({**BODY, **changes})
    except GatewayError as error:
        refused = error
    else:
        assert request.choices >= 1
        return
    assert refused.status == 400
    assert refused.param
