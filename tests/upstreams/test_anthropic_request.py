"""Request bodies, parameter by parameter and model by model, each validated by the vendor SDK's types."""

from typing import Any

import pytest

from gateway.catalog import bundled
from tests.upstreams.anthropic_chats import HELLO, WEATHER, WEATHER_SCHEMA, adapter, chat, dropped, refusal, sent

MODELS = [model.id for model in bundled().models.values() if model.provider == "anthropic"]
SINGLE = ["claude-sonnet-4-6", "claude-haiku-4-5", "claude-opus-4-5", "claude-sonnet-4-0"]
UNSAMPLED = ["claude-opus-4-7", "claude-opus-4-8", "claude-fable-5"]
EMULATING = ["claude-sonnet-4-0", "claude-3-7-sonnet", "claude-3-5-haiku"]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
ONE_JSON_CALL = {"type": "tool", "name": "json_tool_call", "disable_parallel_tool_use": True}


def test_the_call() -> None:
    call = adapter().build_request(chat(stream=True))
    assert (call.path, call.stream) == ("/v1/messages", True)
    assert call.headers == {"anthropic-version": "2023-06-01"}
    assert adapter().auth_headers("sk-1") == {"x-api-key": "sk-1"}
    assert list(adapter().remote_files(chat())) == []


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"max_tokens": 100, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["END", " "]},
        {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False, "user": "u-1"},
        {"web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "Oslo"}}}},
        {"response_format": {"type": "json_object"}, "service_tier": "default"},
        {"response_format": SCHEMA_FORMAT, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"seed": 1, "metadata": {"a": "b"}, "store": True, "presence_penalty": 1.5, "reasoning_effort": "none"},
    ],
)
def test_every_model_takes_what_the_vendors_types_take(model: str, stream: bool, body: dict[str, Any]) -> None:
    result = sent(chat(model, stream=stream, **body))
    assert result["model"] == bundled().models[model].upstream_id
    assert result.get("stream", False) is stream


@pytest.mark.parametrize("model", [model for model in MODELS if model != "claude-3-5-haiku"])
@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize("extra", [{}, {"tools": [WEATHER]}, {"temperature": 0.2, "top_p": 0.96, "top_k": 3}])
def test_every_effort_is_taken_too(model: str, effort: str, extra: dict[str, Any]) -> None:
    body = sent(chat(model, reasoning_effort=effort, **extra))
    assert "temperature" not in body
    assert "top_k" not in body
    assert "thinking" in body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"max_tokens": 50}, 50),
        ({"max_completion_tokens": 70, "max_tokens": 50}, 70),
        ({"max_tokens": 10_000_000}, 64_000),
        ({}, 64_000),
    ],
)
def test_max_tokens(body: dict[str, Any], expected: int) -> None:
    assert sent(chat("claude-haiku-4-5", **body))["max_tokens"] == expected


@pytest.mark.parametrize("model", EMULATING)
def test_the_default_is_small_where_prompt_and_output_share_the_context(model: str) -> None:
    assert sent(chat(model))["max_tokens"] == 4096


def test_a_payment_caps_max_tokens() -> None:
    bound = chat(max_tokens=500)
    bound.output_limit = 90
    assert sent(bound)["max_tokens"] == 90


@pytest.mark.parametrize("model", SINGLE)
def test_temperature_wins_over_top_p(model: str) -> None:
    body = sent(bound := chat(model, temperature=0.3, top_p=0.8, top_k=4))
    assert (body["temperature"], body["top_k"]) == (0.3, 4)
    assert "top_p" not in body
    assert dropped(bound) == ("top_p",)


def test_top_p_alone_is_kept() -> None:
    assert sent(chat(top_p=0.8))["top_p"] == 0.8


def test_the_oldest_models_take_both() -> None:
    body = sent(chat("claude-3-7-sonnet", temperature=0.3, top_p=0.8))
    assert (body["temperature"], body["top_p"]) == (0.3, 0.8)


@pytest.mark.parametrize("model", UNSAMPLED)
def test_models_that_refuse_sampling_get_none(model: str) -> None:
    body = sent(bound := chat(model, temperature=0.3, top_p=1, top_k=4))
    assert not body.keys() & {"temperature", "top_p", "top_k"}
    assert dropped(bound) == ("temperature", "top_k")


@pytest.mark.parametrize("model", [*SINGLE, *UNSAMPLED])
def test_no_limit_of_tokens_is_no_top_k(model: str) -> None:
    """0 is OpenRouter's default."""
    assert "top_k" not in sent(bound := chat(model, top_k=0))
    assert dropped(bound) == ()


def test_a_temperature_above_one_is_sent_as_one_and_listed() -> None:
    assert sent(bound := chat(temperature=1.7))["temperature"] == 1
    assert dropped(bound) == ("temperature",)


@pytest.mark.parametrize(("top_p", "kept"), [(0.95, True), (0.5, False)])
def test_thinking_limits_top_p(top_p: float, kept: bool) -> None:
    assert ("top_p" in sent(chat(top_p=top_p, reasoning_effort="low"))) is kept


def test_stop_sequences_of_blanks_are_dropped() -> None:
    assert sent(bound := chat(stop=["END", "\n"]))["stop_sequences"] == ["END"]
    assert dropped(bound) == ("stop",)
    assert "stop_sequences" not in sent(chat(stop=" "))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [WEATHER], "tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": "validated"}, "tool_choice"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
            "tools[0].function.parameters.type",
        ),
        ({"service_tier": "gold"}, "service_tier"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
    ],
)
def test_what_would_change_the_meaning_is_refused(body: dict[str, Any], param: str) -> None:
    error = refusal(**body)
    assert (error.status, error.param) == (400, param)


def test_what_says_nothing_is_no_reason_to_refuse() -> None:
    bound = chat(n=1, logprobs=False, top_logprobs=0, logit_bias={}, modalities=["text"], frequency_penalty=0)
    assert dropped(bound) == ()


def test_hints_are_dropped_and_listed() -> None:
    bound = chat(seed=1, verbosity="low", prompt_cache_key="k", prediction={}, presence_penalty=1, metadata={"a": "b"})
    assert set(dropped(bound)) == {
        "metadata",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "seed",
        "verbosity",
    }


@pytest.mark.parametrize(
    ("body", "user_id", "listed"),
    [
        ({"user": "u-1"}, "u-1", ()),
        ({"user": "u-1", "safety_identifier": "s-1"}, "s-1", ("user",)),
        ({"user": "u-1", "safety_identifier": "u-1"}, "u-1", ()),
        ({"user": "u-1", "safety_identifier": "ada@example.com"}, "u-1", ("safety_identifier",)),
        ({"user": "", "safety_identifier": None}, None, ()),
        ({"user": "ada@example.com"}, None, ("user",)),
        ({"safety_identifier": "+47 900 00 000"}, None, ("safety_identifier",)),
        ({"user": "u" * 257}, None, ("user",)),
    ],
)
def test_the_end_user(body: dict[str, Any], user_id: str | None, listed: tuple[str, ...]) -> None:
    assert sent(bound := chat(**body)).get("metadata") == ({"user_id": user_id} if user_id else None)
    assert dropped(bound) == listed


@pytest.mark.parametrize(
    ("tier", "expected", "listed"),
    [
        ("auto", "auto", ()),
        ("default", "standard_only", ()),
        ("flex", "auto", ("service_tier",)),
        ("priority", "auto", ("service_tier",)),
        ("fast", "auto", ("service_tier",)),
        ("scale", "auto", ("service_tier",)),
    ],
)
def test_service_tiers(tier: str, expected: str, listed: tuple[str, ...]) -> None:
    assert sent(bound := chat(service_tier=tier))["service_tier"] == expected
    assert dropped(bound) == listed


@pytest.mark.parametrize("model", [model for model in MODELS if model not in EMULATING])
def test_a_json_schema_is_native(model: str) -> None:
    body = sent(chat(model, response_format=SCHEMA_FORMAT, tools=[WEATHER]))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert body["tool_choice"] == {"type": "auto"}


@pytest.mark.parametrize(
    ("strict", "param"), [(None, None), (True, "response_format.json_schema.schema.properties.a.minLength")]
)
def test_a_schema_beyond_the_limits(strict: bool | None, param: str | None) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": strict}}
    if param:
        assert refusal(response_format=wanted).param == param
        return
    sent_schema = sent(chat(response_format=wanted))["output_config"]["format"]["schema"]
    assert sent_schema["properties"]["a"] == {"type": "string", "description": "(minLength: 2)"}


@pytest.mark.parametrize("model", EMULATING)
def test_a_json_schema_is_a_forced_tool_on_older_models(model: str) -> None:
    body = sent(chat(model, response_format=SCHEMA_FORMAT, **({} if "haiku" in model else {"reasoning_effort": "low"})))
    assert [tool["name"] for tool in body["tools"]] == ["json_tool_call"]
    assert body["tools"][0]["input_schema"] == SCHEMA
    assert body["tool_choice"] == ONE_JSON_CALL
    assert not body.keys() & {"output_config", "thinking"}


NODE = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}}
OPTIONS = {"type": "object", "properties": {f"option_{number}": {"type": "string"} for number in range(25)}}


def with_property(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}, "required": ["x"]}


INEXPRESSIBLE = [
    {"type": "object"},
    with_property({"type": "object", "additionalProperties": {"type": "string"}}),
    with_property({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True}),
    with_property({"type": "array", "items": {"type": ["object", "null"]}}),
    with_property({"anyOf": [WEATHER_SCHEMA | {"patternProperties": {"^x-": {}}}, {"type": "null"}]}),
    with_property({"title": "Any value, as Pydantic writes it"}),
    with_property({"type": "array", "items": {}}),
    with_property({"anyOf": [{"type": "string"}, {"description": "Any other"}]}),
    {"type": "object", "properties": {"x": True}},
    with_property(WEATHER_SCHEMA | {"allOf": [with_property({"type": "string"})]}),
    with_property(WEATHER_SCHEMA | {"oneOf": [with_property({"type": "string"}), {}]}),
    {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}},
    OPTIONS,
]


@pytest.mark.parametrize("schema", INEXPRESSIBLE)
def test_a_schema_that_structured_output_cannot_express_is_a_forced_tool(schema: dict[str, Any]) -> None:
    """Closed, a map can only be empty: litellm and Vercel's AI SDK do the same."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = sent(chat("claude-sonnet-4-6", response_format=wanted))
    assert [tool["input_schema"] for tool in body["tools"]] == [{"type": "object", **schema}]
    assert body["tool_choice"] == ONE_JSON_CALL
    assert "output_config" not in body


@pytest.mark.parametrize(
    ("schema", "parameters"),
    [
        (INEXPRESSIBLE[1], {"tools": [WEATHER]}),
        (INEXPRESSIBLE[1], {"web_search": True}),
        ({"type": "array", "items": INEXPRESSIBLE[1]}, {}),
        ({"anyOf": [INEXPRESSIBLE[1]]}, {}),
        (with_property({"type": "object", "additionalProperties": False}), {}),
        (with_property({"type": "object", "oneOf": [WEATHER_SCHEMA]}), {}),
        (SCHEMA, {}),
    ],
)
def test_a_schema_is_left_to_structured_output_otherwise(schema: dict[str, Any], parameters: dict[str, Any]) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = sent(chat("claude-sonnet-4-6", response_format=wanted, **parameters))
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert body.get("tool_choice") in (None, {"type": "auto"})


def test_a_strict_schema_is_not_emulated() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": INEXPRESSIBLE[1], "strict": True}}
    assert refusal(model="claude-sonnet-4-6", response_format=wanted).code == "unsupported_value"


def test_older_models_cannot_have_a_schema_and_tools() -> None:
    error = refusal(model="claude-sonnet-4-0", response_format=SCHEMA_FORMAT, tools=[WEATHER])
    assert (error.status, error.param) == (400, "response_format")


@pytest.mark.parametrize("wanted", [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "any"}}])
def test_json_without_a_schema_is_an_instruction(wanted: dict[str, Any]) -> None:
    messages = [{"role": "system", "content": "Be short."}, HELLO]
    body = sent(chat(response_format=wanted, messages=messages))
    assert body["system"][0]["text"] == "Be short."
    assert "JSON object" in body["system"][-1]["text"]
    assert "output_config" not in body


def test_the_worked_conversion() -> None:
    """facts/providers.md 12.1"""
    calls = [
        {"id": f"toolu_01{x}", "type": "function", "function": {"name": "weather", "arguments": f'{{"city":"{city}"}}'}}
        for x, city in (("A", "Oslo"), ("B", "Rome"))
    ]
    detail = {
        "type": "reasoning.text",
        "text": "Two calls.",
        "signature": "Eq",
        "format": "anthropic-claude-v1",
        "index": 0,
    }
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Weather in Oslo and Rome?"},
        {"role": "assistant", "content": None, "reasoning_details": [detail], "tool_calls": calls},
        {"role": "tool", "tool_call_id": "toolu_01A", "content": "4 C"},
        {"role": "tool", "tool_call_id": "toolu_01B", "content": "17 C"},
        {"role": "user", "content": "Celsius please."},
    ]
    body: dict[str, Any] = {
        "max_completion_tokens": 8000,
        "reasoning_effort": "medium",
        "parallel_tool_calls": True,
        "tools": [WEATHER],
    }
    expected: dict[str, Any] = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 8000,
        "system": [{"type": "text", "text": "Be short."}],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "medium"},
        "tools": [{"name": "weather", "input_schema": WEATHER_SCHEMA}],
        "tool_choice": {"type": "auto"},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo and Rome?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Two calls.", "signature": "Eq"},
                    {"type": "tool_use", "id": "toolu_01A", "name": "weather", "input": {"city": "Oslo"}},
                    {"type": "tool_use", "id": "toolu_01B", "name": "weather", "input": {"city": "Rome"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_01A", "content": "4 C"},
                    {"type": "tool_result", "tool_use_id": "toolu_01B", "content": "17 C"},
                    {"type": "text", "text": "Celsius please."},
                ],
            },
        ],
    }
    assert sent(chat("claude-sonnet-4-6", messages=messages, **body)) == expected

    del messages[2]["reasoning_details"]
    expected.pop("thinking")
    expected["messages"][1]["content"].pop(0)
    assert sent(chat("claude-sonnet-4-6", messages=messages, **body)) == expected
