"""Looking up models by the names that callers and upstreams use."""

from datetime import date

import pytest

from gateway.catalog import Catalog
from gateway.openai_api.errors import GatewayError


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-5", "gpt-5"),
        ("openai/gpt-5", "gpt-5"),
        ("openai/gpt-5-2025-08-07", "gpt-5"),
        ("gpt-4.1-2025-04-14", "gpt-4.1"),
        ("GPT-5", "gpt-5"),
        (" gpt-5 ", "gpt-5"),
        ("anthropic/claude-opus-4.5", "claude-opus-4-5"),
        ("claude-4.5-sonnet", "claude-sonnet-4-5"),
        ("claude-4.0-sonnet", "claude-sonnet-4-0"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("google/gemini-2.5-flash", "gemini-2.5-flash"),
        ("x-ai/grok-4", "grok-4"),
        ("xai/grok-4-0709", "grok-4"),
        ("grok-3-mini-beta", "grok-3-mini"),
        ("grok-3-mini-high", "grok-3-mini"),
        ("grok-4.1-fast", "grok-4-1-fast"),
        ("grok-2-image-1212", "grok-2-image"),
        ("bytedance/seed-1.6", "seed-1.6"),
        ("seed-1-6-250615", "seed-1.6"),
        ("seedream-4-0", "seedream-4.0"),
        ("nousresearch/hermes-4-405b", "hermes-4-405b"),
        ("nous/hermes-4-70b", "hermes-4-70b"),
        ("Hermes-4-405B", "hermes-4-405b"),
    ],
)
def test_alternate_names(catalog: Catalog, name: str, model: str) -> None:
    assert catalog.find(name).id == model
    assert catalog.get(name) is catalog.models[model]


OPENGRADIENT_IDS = """
    gpt-4.1-2025-04-14 o4-mini gpt-5 gpt-5-mini gpt-5.2 claude-sonnet-4-5 claude-sonnet-4-6 claude-haiku-4-5
    claude-opus-4-5 claude-opus-4-6 claude-opus-4-7 claude-opus-4-8 gemini-2.5-flash gemini-2.5-pro
    gemini-2.5-flash-lite gemini-3-flash-preview gemini-3.1-pro-preview gemini-3.1-flash-lite-preview gemini-3.5-flash
    gemini-2.5-flash-image gemini-3.1-flash-image grok-4 grok-4-fast grok-4-1-fast grok-4-1-fast-non-reasoning
    grok-2-image seed-1.6 seed-1.8 seed-2.0-lite seedream-4.0 hermes-4-405b hermes-4-70b
"""


@pytest.mark.parametrize("name", OPENGRADIENT_IDS.split())
def test_the_opengradient_sdks_ids_with_a_known_price(catalog: Catalog, name: str) -> None:
    assert catalog.get(name) is not None


@pytest.mark.parametrize("name", ["o3", "gpt-4.1-mini", "gpt-5.4", "grok-code-fast-1", "deepseek-v4-pro", "glm-5.2"])
def test_no_price_no_model(catalog: Catalog, name: str) -> None:
    assert catalog.get(name) is None


def refusal(catalog: Catalog, name: str) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        catalog.find(name)
    return caught.value


def test_an_unknown_model_is_not_found(catalog: Catalog) -> None:
    error = refusal(catalog, "quite-something-else")
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert error.message == "The model 'quite-something-else' does not exist."


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("gpt5", "gpt-5"),
        ("openai/gpt-5-min", "gpt-5-mini"),
        ("somebody-we-have-never-heard-of/gpt-5-min", "gpt-5-mini"),
        ("claude-4-5-opus", "claude-opus-4-5"),
        ("gemini-3.1-pro", "gemini-3.1-pro-preview"),
        ("Hermes-405B", "hermes-4-405b"),
    ],
)
def test_near_matches(catalog: Catalog, name: str, near: str) -> None:
    message = refusal(catalog, name).message
    _, _, suggestions = message.partition(" Did you mean ")
    names = suggestions.removesuffix("?").split(", ")
    assert near in names
    assert len(names) == len(set(names)) <= 3
    assert all(name in catalog.models for name in names)


def test_the_names_of_one_model_leave_room_for_others(catalog: Catalog) -> None:
    """The closest four names all belong to two models."""
    message = refusal(catalog, "seed-2.0-lit").message
    assert message.endswith(" Did you mean seed-2.0-lite, seed-2-0-lite-260428, seed-1.8?")


def test_a_providers_name_is_not_like_its_models(catalog: Catalog) -> None:
    assert refusal(catalog, "bytedance").message == "The model 'bytedance' does not exist."


def test_a_name_with_a_prefix_gets_no_second_one(catalog: Catalog) -> None:
    assert catalog.models["hermes-4-70b"].upstream_id == "nousresearch/hermes-4-70b"
    assert catalog.get("nous/nousresearch/hermes-4-70b") is None


def test_an_absurd_name_is_not_echoed_whole(catalog: Catalog) -> None:
    assert refusal(catalog, "x" * 1_000_000).message == f"The model '{'x' * 128}' does not exist."


def test_a_retired_model_is_still_found(catalog: Catalog) -> None:
    model = catalog.find("grok-2")
    assert model.retired(date(2026, 11, 22))
    assert model.replacement == "grok-4.3"
