"""OpenAI's parameters for Gemini: passed, renamed, dropped or rejected (facts/providers.md 1.8, 5.2 to 5.5, 5.10)."""

from typing import Any

import pytest

from tests.upstreams.gemini_chats import (
    FLASH,
    FLASH_3,
    SCHEMA_FORMAT,
    WEATHER,
    WEATHER_SCHEMA,
    adapter,
    chat,
    config,
    refusal,
    sent,
)

LITE, PRO = "gemini-2.5-flash-lite", "gemini-2.5-pro"
PRO_3, PRO_31 = "gemini-3-pro-preview", "gemini-3.1-pro-preview"
FLASH_38 = "gemini-3.8-flash"
DRAW_25, DRAW_31 = "gemini-2.5-flash-image", "gemini-3.1-flash-image"


def test_nothing_is_set_that_nobody_asked_for() -> None:
    assert sent(chat(FLASH)) == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"temperature": 0}, {"temperature": 0}),
        ({"temperature": 2, "top_p": 0.5, "top_k": 40}, {"temperature": 2, "topP": 0.5, "topK": 40}),
        ({"top_k": 0}, {}),
        ({"max_tokens": 7}, {"maxOutputTokens": 7}),
        ({"max_completion_tokens": 8, "max_tokens": 7}, {"maxOutputTokens": 8}),
        ({"max_tokens": 10_000_000}, {"maxOutputTokens": 65_536}),
        ({"stop": "END"}, {"stopSequences": ["END"]}),
        ({"stop": ["1", "2", "3", "4", "5"]}, {"stopSequences": ["1", "2", "3", "4", "5"]}),
        ({"seed": -5}, {"seed": -5}),
        ({"seed": -(2**31)}, {"seed": -(2**31)}),
        ({"seed": 2**31 - 1}, {"seed": 2**31 - 1}),
        ({"n": 1}, {}),
        ({"n": 8}, {"candidateCount": 8}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
        (
            {"response_format": SCHEMA_FORMAT},
            {"responseMimeType": "application/json", "responseJsonSchema": WEATHER_SCHEMA},
        ),
        ({"modalities": ["text"]}, {}),
    ],
)
def test_generation_config(body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert config(**body) == expected


def test_a_payment_caps_the_output() -> None:
    bound = chat(FLASH, max_tokens=900)
    bound.output_limit = 100
    assert sent(bound)["generationConfig"] == {"maxOutputTokens": 100}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"n": 9}, "n"),
        ({"n": 2, "stream": True}, "n"),
        ({"stop": list("123456")}, "stop"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"modalities": ["image"]}, "modalities"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"service_tier": "turbo"}, "service_tier"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"tools": [{"type": "custom", "custom": {"name": "shell"}}]}, "tools[0].type"),
        ({"tools": [WEATHER], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "clock"}}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "custom", "custom": {"name": "weather"}}}, "tool_choice"),
        ({"tools": [WEATHER], "response_format": {"type": "json_object"}}, "response_format"),
        ({"web_search": True, "response_format": SCHEMA_FORMAT}, "response_format"),
        ({"tools": [WEATHER], "web_search_options": {}}, "web_search_options"),
        ({"tools": [WEATHER], "web_search": True}, "web_search"),
    ],
)
def test_what_would_change_the_meaning_is_refused(body: dict[str, Any], param: str) -> None:
    assert refusal(FLASH, **body).param == param


def test_hints_are_dropped_and_named() -> None:
    hints: dict[str, Any] = {
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "repetition_penalty": 1.1,
        "parallel_tool_calls": False,
        "user": "u",
        "safety_identifier": "s",
        "metadata": {"a": "b"},
        "store": True,
        "verbosity": "low",
        "prediction": {"type": "content", "content": "x"},
        "moderation": {"model": "m"},
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "prompt_cache_options": {"a": 1},
        "cache_control": {"type": "ephemeral"},
        "image_config": {"aspect_ratio": "1:1"},
        "seed": 2**40,
    }
    bound = chat(FLASH, **hints)
    assert "generationConfig" not in sent(bound)
    assert set(adapter().build_request(bound).dropped) == set(hints)


def test_what_must_not_be_stored_is_not_logged_by_google() -> None:
    """Google logs generateContent by default in projects created since 2026-10-26."""
    bound = chat(FLASH, store=False)
    assert sent(bound)["store"] is False
    assert adapter().build_request(bound).dropped == ()
    for others in ({}, {"store": None}, {"store": True}):
        assert "store" not in sent(chat(FLASH, **others))


def test_a_hint_that_says_nothing_is_not_worth_naming() -> None:
    neutral: dict[str, Any] = {
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "parallel_tool_calls": True,
        "store": False,
        "logprobs": False,
        "top_logprobs": 0,
        "logit_bias": {},
    }
    assert adapter().build_request(chat(FLASH, **neutral)).dropped == ()


@pytest.mark.parametrize(
    ("asked", "expected", "listed"),
    [
        ("auto", None, ()),
        ("default", "standard", ()),
        ("standard", "standard", ()),
        ("flex", "flex", ()),
        ("priority", "priority", ()),
        ("fast", "priority", ()),
        ("scale", None, ("service_tier",)),
    ],
)
def test_service_tiers(asked: str, expected: str | None, listed: tuple[str, ...]) -> None:
    assert sent(bound := chat(FLASH, service_tier=asked)).get("serviceTier") == expected
    assert adapter().build_request(bound).dropped == listed


def test_safety_settings_are_passed_on() -> None:
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert sent(chat(FLASH, safety_settings=settings))["safetySettings"] == settings


@pytest.mark.parametrize(
    ("model", "effort", "budget"),
    [
        (FLASH, "none", 0),
        (FLASH, "minimal", 1024),
        (FLASH, "low", 1024),
        (FLASH, "medium", 8192),
        (FLASH, "high", 24_576),
        (FLASH, "xhigh", 24_576),
        (FLASH, "max", 24_576),
        (LITE, "none", 0),
        (LITE, "minimal", 512),
        (LITE, "low", 1024),
        (PRO, "none", 128),
        (PRO, "minimal", 128),
        (PRO, "high", 24_576),
    ],
)
def test_budgets(model: str, effort: str, budget: int) -> None:
    assert config(model, reasoning_effort=effort) == {
        "thinkingConfig": {"thinkingBudget": budget, "includeThoughts": effort != "none"}
    }


@pytest.mark.parametrize(
    ("model", "effort", "level"),
    [
        (FLASH_3, "none", "minimal"),
        (FLASH_3, "minimal", "minimal"),
        (FLASH_3, "low", "low"),
        (FLASH_3, "medium", "medium"),
        (FLASH_3, "high", "high"),
        (FLASH_3, "xhigh", "high"),
        (FLASH_3, "max", "high"),
        (PRO_3, "none", "low"),
        (FLASH_38, "none", "low"),
        (FLASH_38, "minimal", "low"),
        (PRO_3, "minimal", "low"),
        (PRO_3, "medium", "high"),
        (PRO_31, "medium", "medium"),
        (DRAW_31, "low", "minimal"),
        (DRAW_31, "medium", "high"),
    ],
)
def test_levels(model: str, effort: str, level: str) -> None:
    assert config(model, reasoning_effort=effort)["thinkingConfig"] == {
        "thinkingLevel": level,
        "includeThoughts": effort != "none",
    }


def test_a_model_that_cannot_think() -> None:
    assert "thinkingConfig" not in config(DRAW_25, reasoning_effort="none")
    assert refusal(DRAW_25, reasoning_effort="low").param == "reasoning_effort"


@pytest.mark.parametrize(
    ("asked", "modalities"),
    [(None, ["TEXT", "IMAGE"]), (["image", "text"], ["TEXT", "IMAGE"]), (["image"], ["IMAGE"]), (["text"], ["TEXT"])],
)
def test_picture_models_say_what_they_may_answer_with(asked: list[str] | None, modalities: list[str]) -> None:
    assert config(DRAW_25, modalities=asked)["responseModalities"] == modalities


def test_the_shape_of_a_picture() -> None:
    found = config(DRAW_31, image_config={"aspect_ratio": "16:9", "image_size": "2K"})
    assert found["imageConfig"] == {"aspectRatio": "16:9", "imageSize": "2K"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [WEATHER]}, "tools"),
        ({"web_search": True}, "web_search"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": SCHEMA_FORMAT}, "response_format"),
        ({"n": 2}, "n"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"image_config": {"style": "vivid"}}, "image_config.style"),
        ({"image_config": {"image_size": 2}}, "image_config.image_size"),
    ],
)
@pytest.mark.parametrize("model", [DRAW_25, DRAW_31])
def test_what_picture_models_cannot_do(model: str, body: dict[str, Any], param: str) -> None:
    assert refusal(model, **body).param == param
