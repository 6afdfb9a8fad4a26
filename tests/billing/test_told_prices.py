"""A caller computes the cost of an answer from what it is told: ``usage``, and the prices in ``/v1/models``."""

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given

from gateway.billing.pricing import cost
from gateway.catalog import Model
from gateway.endpoints.models import _pricing
from gateway.openai_api.usage import Usage
from tests.billing.priced import TODAY, days, model, models, usages


def computed(pricing: dict[str, Any], usage: dict[str, Any], tier: str, images: int) -> Decimal:
    """The cost as docs/payments.md tells callers to compute it. ``tier`` is the answer's ``service_tier``."""
    searches = usage.get("server_tool_use", {}).get("web_search_requests", 0)
    flat: Decimal = _price(pricing, "per_image") * images + _price(pricing, "per_web_search") * searches
    flat += _price(pricing, "per_grounded_prompt") * bool(searches)
    if "input" not in pricing:
        return flat
    rates, factor = _rates(pricing, usage, tier)
    factor *= Decimal(pricing.get("regions", {}).get(usage.get("inference_geo"), 1))
    return flat + (_prompt(rates, usage) + _completion(rates, usage)) * factor / 1_000_000


def _price(pricing: dict[str, Any], name: str) -> Decimal:
    return Decimal(pricing.get(name, 0))


def _rates(pricing: dict[str, Any], usage: dict[str, Any], tier: str) -> tuple[dict[str, str], Decimal]:
    prompt = usage["prompt_tokens"] - usage["prompt_tokens_details"].get("tool_use_tokens", 0)
    long = pricing.get("long_context")
    rates = pricing if long is None or prompt <= long["over_tokens"] else long
    tier_pricing = pricing.get("tiers", {}).get(tier, {"factor": "1"})
    return (rates, Decimal(tier_pricing["factor"])) if "factor" in tier_pricing else (tier_pricing, Decimal(1))


def _prompt(rates: dict[str, str], usage: dict[str, Any]) -> Decimal:
    told = usage["prompt_tokens_details"].get
    audio, cached, cached_audio = told("audio_tokens"), told("cached_tokens"), told("cached_audio_tokens", 0)
    written, written_1h = told("cache_write_tokens", 0), told("cache_write_1h_tokens", 0)
    counts = {
        "audio_input": audio - cached_audio,
        "cached_audio_input": cached_audio,
        "cached_input": cached - cached_audio,
        "cache_write_5m": written - written_1h,
        "cache_write_1h": written_1h,
    }
    counts["input"] = usage["prompt_tokens"] - sum(counts.values())
    if "audio_input" not in rates:
        rates = {"cached_audio_input": rates.get("cached_input", rates["input"])} | rates
    return sum((Decimal(rates.get(name, rates["input"])) * count for name, count in counts.items()), Decimal(0))


def _completion(rates: dict[str, str], usage: dict[str, Any]) -> Decimal:
    images: int = usage["completion_tokens_details"].get("image_tokens", 0)
    text: int = usage["completion_tokens"] - images
    return Decimal(rates["output"]) * text + Decimal(rates.get("image_output", rates["output"])) * images


@given(models, usages(), days)
def test_the_cost_follows_from_what_is_told(priced: Model, usage: Usage, day: date) -> None:
    told = computed(_pricing(priced, day), usage.as_openai(), usage.tier, usage.images)
    assert told == cost(priced, usage, day)


def test_cached_audio_is_told() -> None:
    usage = Usage(prompt_tokens=100, audio_tokens=80, cached_tokens=60, cached_audio_tokens=40)
    flash = model("gemini-2.5-flash")
    assert computed(_pricing(flash, TODAY), usage.as_openai(), "", 0) == cost(flash, usage, TODAY)
    assert usage.as_openai()["prompt_tokens_details"]["cached_audio_tokens"] == 40
    untouched = msgspec.structs.replace(usage, cached_audio_tokens=0)
    assert "cached_audio_tokens" not in untouched.as_openai()["prompt_tokens_details"]


def test_a_priced_region_is_told() -> None:
    usage, opus = Usage(prompt_tokens=100, completion_tokens=10, region="us"), model("claude-opus-4-8")
    assert usage.as_openai()["inference_geo"] == "us"
    assert computed(_pricing(opus, TODAY), usage.as_openai(), "", 0) == cost(opus, usage, TODAY)
    assert "inference_geo" not in msgspec.structs.replace(usage, region="").as_openai()
