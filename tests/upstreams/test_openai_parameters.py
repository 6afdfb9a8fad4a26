"""The parameter matrix of facts/providers.md 1.8 with the model rules of 2.4, 6.2, 7.2 and 8, model by model."""

from typing import Any

import pytest

from gateway.catalog import bundled
from gateway.openai_api.errors import GatewayError
from tests.upstreams.openai_chats import HI, MODELS, TOOL, adapter, chat, dropped, sent

GROUPS = {
    "4.1": ["gpt-4.1"],
    "o4": ["o4-mini"],
    "5": ["gpt-5", "gpt-5-mini"],
    "5.2": ["gpt-5.2"],
    "grok": ["grok-2", "grok-3"],
    "grok-swift": ["grok-4-fast-non-reasoning", "grok-4-1-fast-non-reasoning"],
    "grok-mini": ["grok-3-mini"],
    "grok-4": ["grok-4", "grok-4-fast", "grok-4-1-fast"],
    "grok-4.3": ["grok-4.3"],
    "seed": ["seed-1.6", "seed-1.8", "seed-2.0-lite"],
    "seed-late": ["seed-2-0-lite-260428"],
    "hermes": ["hermes-4-405b", "hermes-4-70b"],
}
OPENAI = ("4.1", "o4", "5", "5.2")
XAI = ("grok", "grok-swift", "grok-mini", "grok-4", "grok-4.3")
ARK = ("seed", "seed-late")
NOUS = ("hermes",)
EVERYONE = OPENAI + XAI + ARK + NOUS

# A parameter is passed unchanged, dropped and listed, silently left out because it has no effect, or refused by name.
PASS, DROP, SILENT = "pass", "drop", "silent"
PARAMETER, VALUE = "unsupported_parameter", "unsupported_value"

SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def everyone(outcome: Any, **vendors: Any) -> dict[str, Any]:
    """The same for all groups, except those of the named vendors."""
    groups = {"openai": OPENAI, "xai": XAI, "ark": ARK, "nous": NOUS}
    exceptions = {group: other for vendor, other in vendors.items() for group in groups[vendor]}
    return dict.fromkeys(EVERYONE, outcome) | exceptions


WITHOUT_STOP = ("o4", "5", "5.2", "grok-swift", "grok-mini", "grok-4", "grok-4.3")
WITHOUT_THOUGHT = ("4.1", "grok", "grok-swift", "grok-4")
REASONING_OPENAI = {"o4": DROP, "5": DROP}
MATRIX: list[tuple[str, Any, dict[str, Any]]] = [
    ("temperature", 0.5, everyone(PASS) | REASONING_OPENAI),
    ("temperature", 1, everyone(PASS) | {"o4": SILENT, "5": SILENT}),
    ("top_p", 0.5, everyone(PASS) | REASONING_OPENAI),
    ("top_p", 1, everyone(PASS) | {"o4": SILENT, "5": SILENT}),
    ("n", 1, everyone(SILENT)),
    ("n", 2, everyone(PASS, nous=VALUE) | dict.fromkeys(("grok-mini", "grok-4", "grok-4.3"), VALUE)),
    (
        "stop",
        ["x", "y"],
        everyone(PASS) | dict.fromkeys(WITHOUT_STOP, PARAMETER),
    ),
    ("stop", "x", everyone(PASS) | dict.fromkeys(WITHOUT_STOP, PARAMETER)),
    ("stop", [], everyone(SILENT)),
    ("seed", 7, everyone(PASS, nous=DROP)),
    (
        "logprobs",
        True,
        everyone(PASS, nous=PARAMETER) | dict.fromkeys(("o4", "5", "grok-mini", "grok-4", "grok-4.3"), PARAMETER),
    ),
    ("logprobs", False, everyone(SILENT)),
    ("top_logprobs", 0, everyone(SILENT)),
    (
        "frequency_penalty",
        0.5,
        everyone(PASS) | dict.fromkeys(WITHOUT_STOP, DROP),
    ),
    (
        "presence_penalty",
        0,
        everyone(PASS) | dict.fromkeys(WITHOUT_STOP, SILENT),
    ),
    (
        "logit_bias",
        {"5": 1},
        everyone(PARAMETER, xai=DROP, ark=PASS, nous=DROP) | {"4.1": PASS},
    ),
    ("logit_bias", {}, everyone(SILENT)),
    ("user", "u", everyone(PASS, nous={"tags": ["user=u"]})),
    ("safety_identifier", "u", everyone(DROP, openai=PASS)),
    ("metadata", {"a": "b"}, everyone(DROP)),
    ("store", True, everyone(DROP)),
    (
        "reasoning_effort",
        "none",
        everyone(SILENT)
        | {"o4": VALUE, "5": VALUE, "5.2": PASS}
        | {"grok-mini": VALUE, "grok-4": PARAMETER, "grok-4.3": PASS}
        | {key: {"thinking": {"type": "disabled"}} for key in ARK},
    ),
    (
        "reasoning_effort",
        "minimal",
        everyone(VALUE, nous=SILENT)
        | {"4.1": PARAMETER, "5": PASS}
        | dict.fromkeys(("grok", "grok-swift", "grok-4"), PARAMETER)
        | {key: {"thinking": {"type": "disabled"}} for key in ARK},
    ),
    ("reasoning_effort", "low", everyone(PASS, nous=SILENT) | dict.fromkeys(WITHOUT_THOUGHT, PARAMETER)),
    ("reasoning_effort", "high", everyone(PASS, nous=SILENT) | dict.fromkeys(WITHOUT_THOUGHT, PARAMETER)),
    (
        "reasoning_effort",
        "medium",
        everyone(PASS, nous=SILENT) | dict.fromkeys(WITHOUT_THOUGHT, PARAMETER) | {"grok-mini": VALUE},
    ),
    (
        "reasoning_effort",
        "xhigh",
        everyone(VALUE, nous=SILENT)
        | dict.fromkeys(WITHOUT_THOUGHT, PARAMETER)
        | {"5.2": PASS}
        | {key: {"reasoning_effort": "high"} for key in ARK},
    ),
    ("reasoning_effort", "frantic", everyone(VALUE) | dict.fromkeys(WITHOUT_THOUGHT, PARAMETER)),
    ("verbosity", "low", everyone(DROP) | {"5": PASS, "5.2": PASS}),
    ("verbosity", "medium", everyone(DROP) | dict.fromkeys(("4.1", "5", "5.2"), PASS)),
    ("service_tier", "flex", everyone(DROP, openai=PASS, ark=PASS)),
    ("service_tier", "priority", everyone(DROP, openai=PASS)),
    ("tool_choice", "none", everyone(SILENT)),
    ("parallel_tool_calls", True, everyone(DROP)),
    ("response_format", {"type": "text"}, everyone(PASS)),
    (
        "response_format",
        {"type": "json_object"},
        everyone(PASS)
        | {
            "seed": {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "json_object", "schema": {"type": "object", "additionalProperties": True}},
                }
            },
            "seed-late": "unsupported_value at response_format.type",
        },
    ),
    ("response_format", SCHEMA, everyone(PASS) | {"seed-late": "unsupported_value at response_format.type"}),
    ("modalities", ["text"], everyone(SILENT, openai=PASS)),
    ("modalities", ["text", "audio"], everyone(PARAMETER, openai=VALUE)),
    ("audio", {"voice": "alloy", "format": "wav"}, everyone(PARAMETER, openai=VALUE)),
    ("prediction", {"type": "content", "content": "x"}, everyone(DROP, openai=PASS)),
    ("prompt_cache_key", "k", everyone(DROP, openai=PASS)),
    ("prompt_cache_retention", "24h", everyone(DROP, openai=PASS)),
    ("web_search_options", {}, everyone(PARAMETER, openai=PASS, xai=DROP)),
    ("web_search", True, everyone(PARAMETER)),
    ("web_search", False, everyone(SILENT)),
    ("top_k", 40, everyone(DROP, ark=PASS, nous=PASS)),
    ("top_k", 0, everyone(SILENT)),
    ("repetition_penalty", 1.1, everyone(DROP, ark=PASS, nous=PASS)),
    ("thinking", {"type": "enabled"}, everyone(PARAMETER, ark=PASS)),
    ("cache_control", {"type": "ephemeral"}, everyone(DROP)),
    ("image_config", {"aspect_ratio": "1:1"}, everyone(DROP)),
    ("safety_settings", [{"category": "x"}], everyone(PARAMETER)),
]
CASES = [
    pytest.param(model, name, value, table[group], id=f"{model}-{name}-{value}")
    for name, value, table in MATRIX
    for group, models in GROUPS.items()
    for model in models
]


def test_every_model_is_in_the_table() -> None:
    assert sorted(model for models in GROUPS.values() for model in models) == sorted(MODELS)


@pytest.mark.parametrize(("model", "name", "value", "outcome"), CASES)
def test_matrix(model: str, name: str, value: Any, outcome: Any) -> None:
    bound = chat(model, **{name: value})
    if isinstance(outcome, str) and outcome.startswith("unsupported"):
        code, _, param = outcome.partition(" at ")
        with pytest.raises(GatewayError) as caught:
            adapter(bound).build_request(bound)
        assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param or name)
        return
    plain = sent(chat(model))
    added = {key: item for key, item in sent(bound).items() if key not in plain or plain[key] != item}
    added.pop("messages", None)
    assert added == (outcome if isinstance(outcome, dict) else {name: value} if outcome == PASS else {})
    assert dropped(bound) == ((name,) if outcome == DROP else ())


@pytest.mark.parametrize("model", MODELS)
def test_null_says_nothing(model: str) -> None:
    names = [name for name, _, _ in MATRIX]
    assert sent(chat(model, **dict.fromkeys(names))) == sent(chat(model))
    assert dropped(chat(model, **dict.fromkeys(names))) == ()


@pytest.mark.parametrize(
    ("parameters", "added"),
    [
        ({"reasoning_effort": "none", "temperature": 0.5}, {"temperature": 0.5, "reasoning_effort": "none"}),
        ({"reasoning_effort": "low", "temperature": 0.5}, {"reasoning_effort": "low"}),
        ({"reasoning_effort": "low", "top_p": 0.5}, {"reasoning_effort": "low"}),
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    ],
)
def test_gpt_5_2_samples_freely_only_while_it_does_not_reason(parameters: Any, added: Any) -> None:
    assert sent(chat("gpt-5.2", **parameters)) == sent(chat("gpt-5.2")) | added
    assert dropped(chat("gpt-5.2", **parameters)) == tuple(sorted(parameters.keys() - added.keys()))


def test_gpt_5_2_has_no_logprobs_while_it_reasons() -> None:
    bound = chat("gpt-5.2", logprobs=True, reasoning_effort="low")
    with pytest.raises(GatewayError) as caught:
        adapter(bound).build_request(bound)
    assert (caught.value.param, caught.value.code) == ("logprobs", PARAMETER)


@pytest.mark.parametrize(
    ("model", "limits", "expected"),
    [
        ("gpt-4.1", {"max_tokens": 9}, {"max_tokens": 9}),
        ("gpt-4.1", {"max_completion_tokens": 9}, {"max_completion_tokens": 9}),
        ("gpt-4.1", {"max_tokens": 9, "max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        ("gpt-4.1", {"max_tokens": 10**6}, {"max_tokens": 32_768}),
        ("gpt-4.1", {"output_limit": 5}, {"max_completion_tokens": 5}),
        ("gpt-4.1", {"output_limit": 5, "max_tokens": 9}, {"max_tokens": 5}),
        ("gpt-4.1", {"output_limit": 50, "max_tokens": 9}, {"max_tokens": 9}),
        ("gpt-4.1", {}, {}),
        *((model, {"max_tokens": 9}, {"max_completion_tokens": 9}) for model in ("o4-mini", "gpt-5", "gpt-5.2")),
        ("grok-3", {"max_tokens": 9}, {"max_tokens": 9}),
        ("grok-4.3", {"max_completion_tokens": 9}, {"max_completion_tokens": 9}),
        ("grok-4.3", {"max_tokens": 10**7}, {"max_tokens": 10**7}),
        ("grok-4.3", {}, {}),
        ("seed-1.6", {}, {"max_completion_tokens": 32_000}),
        ("seed-1.6", {"max_tokens": 9}, {"max_tokens": 9}),
        ("seed-1.6", {"max_completion_tokens": 9}, {"max_completion_tokens": 9}),
        ("seed-1.6", {"max_tokens": 9, "max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        ("seed-1.6", {"max_tokens": 9, "output_limit": 50}, {"max_completion_tokens": 9}),
        ("hermes-4-70b", {"max_completion_tokens": 9}, {"max_tokens": 9}),
        ("hermes-4-70b", {"max_tokens": 9}, {"max_tokens": 9}),
        ("hermes-4-70b", {}, {}),
    ],
)
def test_output_limit(model: str, limits: dict[str, int], expected: dict[str, int]) -> None:
    body = sent(chat(model, **limits))
    assert {name: body[name] for name in ("max_tokens", "max_completion_tokens") if name in body} == expected


@pytest.mark.parametrize("model", MODELS)
def test_streams_always_ask_for_usage(model: str) -> None:
    body = sent(chat(model, stream=True, stream_options={"include_usage": False, "include_obfuscation": True}))
    assert body["stream"] is True
    assert body["stream_options"]["include_usage"] is True
    assert body["stream_options"].get("include_obfuscation") is (False if model.startswith(("gpt", "o4")) else None)
    assert not sent(chat(model)).keys() & {"stream", "stream_options"}


@pytest.mark.parametrize("model", MODELS)
def test_the_upstream_knows_the_model_by_its_own_id(model: str) -> None:
    bound = chat(model)
    assert sent(bound)["model"] == bound.model.upstream_id
    call = adapter(bound).build_request(bound)
    assert (call.path, call.stream, call.headers) == ("/chat/completions", False, {})
    assert adapter(bound).auth_headers("k") == {"Authorization": "Bearer k"}
    assert list(adapter(bound).remote_files(bound)) == []


@pytest.mark.parametrize(
    ("model", "outcome"),
    [
        ("gpt-4.1", PASS),
        ("gpt-5", PASS),
        ("o4-mini", DROP),
        ("grok-3", PASS),
        ("seed-1.6", PASS),
        ("hermes-4-70b", DROP),
    ],
)
def test_parallel_tool_calls_beside_tools(model: str, outcome: str) -> None:
    bound = chat(model, tools=[TOOL], parallel_tool_calls=False)
    assert (sent(bound).get("parallel_tool_calls") is False) == (outcome == PASS)
    assert dropped(bound) == (("parallel_tool_calls",) if outcome == DROP else ())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("choice", ["auto", "required", "none", {"type": "function", "function": {"name": "weather"}}])
def test_tool_choice_beside_tools(model: str, choice: Any) -> None:
    assert sent(chat(model, tools=[TOOL], tool_choice=choice))["tool_choice"] == choice


@pytest.mark.parametrize("model", MODELS)
def test_a_tool_choice_that_only_gemini_has_is_refused(model: str) -> None:
    bound = chat(model, tools=[TOOL], tool_choice="validated")
    with pytest.raises(GatewayError, match="not supported with this model") as caught:
        adapter(bound).build_request(bound)
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")


def allowing(mode: str, *names: Any) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize("model", MODELS)
def test_allowed_tools_are_openai_s_own_word(model: str, mode: str) -> None:
    """The others take none, auto, required or one name (6.2, 7.2): they are offered what is allowed, and no more."""
    other = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
    choice = allowing(mode, "time", "unknown")
    body = sent(chat(model, tools=[TOOL, other], tool_choice=choice))
    own = bundled().find(model).provider == "openai"
    assert body["tool_choice"] == (choice if own else mode)
    assert body["tools"] == ([TOOL, other] if own else [other])


@pytest.mark.parametrize("model", ["grok-4.3", "seed-1.6", "hermes-4-70b"])
@pytest.mark.parametrize("choice", [allowing("auto"), allowing("auto", "unknown", 7), allowing("none", "weather")])
def test_allowed_tools_that_leave_nothing_to_choose_from(model: str, choice: dict[str, Any]) -> None:
    bound = chat(model, tools=[TOOL], tool_choice=choice)
    with pytest.raises(GatewayError) as caught:
        adapter(bound).build_request(bound)
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")


@pytest.mark.parametrize(("model", "most"), [("gpt-4.1", 4), ("grok-3", 4), ("seed-1.6", 4), ("hermes-4-70b", 4)])
def test_number_of_stops(model: str, most: int) -> None:
    assert len(sent(chat(model, stop=["x"] * most))["stop"]) == most
    bound = chat(model, stop=["x"] * (most + 1))
    with pytest.raises(GatewayError) as caught:
        adapter(bound).build_request(bound)
    assert (caught.value.param, caught.value.code) == ("stop", VALUE)


@pytest.mark.parametrize("effort", ["none", "low"])
def test_modelark_never_gets_effort_and_thinking_together(effort: str) -> None:
    bound = chat("seed-1.6", thinking={"type": "enabled"}, reasoning_effort=effort)
    body = sent(bound)
    assert ("thinking" in body) != ("reasoning_effort" in body)
    assert dropped(bound) == ("thinking",)


@pytest.mark.parametrize(("effort", "thinks"), [(None, False), ("none", False), ("low", True), ("high", True)])
def test_nous_thinks_when_its_system_prompt_says_so(effort: str | None, thinks: bool) -> None:
    messages = sent(chat("hermes-4-70b", reasoning_effort=effort))["messages"]
    assert messages[-1] == HI
    assert len(messages) == 1 + thinks
    if thinks:
        assert messages[0]["role"] == "system"
        assert "<think>" in messages[0]["content"]


def test_nous_is_told_who_asks_in_every_request() -> None:
    """Its gateway rejects requests without such a tag (facts/providers.md 8)."""
    for user in (None, ""):
        assert sent(chat("hermes-4-70b", user=user))["tags"] == ["user=tee-gateway"]
    assert "user" not in sent(chat("hermes-4-70b", user="u"))
    assert "tags" not in sent(chat("gpt-4.1", user="u"))


def test_nulls_of_a_schema_are_left_out() -> None:
    schema = {"name": "x", "schema": {"type": "object"}}
    nulls = {"type": "json_schema", "json_schema": schema | {"description": None, "strict": None}}
    assert sent(chat(response_format=nulls))["response_format"] == {"type": "json_schema", "json_schema": schema}
