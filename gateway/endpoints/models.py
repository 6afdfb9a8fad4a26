"""``GET /v1/models`` and ``GET /v1/models/{id}``: the catalogue with capabilities, limits and prices."""

from datetime import UTC, date, datetime
from typing import Any

from aiohttp import web

from gateway.catalog import Model, Rates, Traits
from gateway.catalog_checks import EFFORTS
from gateway.endpoints.json_response import json_response
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord


async def list_models(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """OpenAI's list of models, extended with prices and limits."""
    today = _today(services)
    return json_response(
        {"object": "list", "data": [_entry(model, today) for model in services.catalog.models.values()]}
    )


async def get_model(services: Services, request: web.BaseRequest, record: RequestRecord) -> web.StreamResponse:
    """One model, by id or alias; 404 if unknown."""
    name = request.path.removeprefix("/v1/models/")
    return json_response(_entry(services.catalog.find(name), _today(services)))


def _today(services: Services) -> date:
    """The day by the clock that answers are charged by: the system clock of an enclave may be wrong."""
    return datetime.fromtimestamp(services.clock(), UTC).date()


def _entry(model: Model, today: date) -> dict[str, Any]:
    released = model.released
    created = datetime(released.year, released.month, released.day, tzinfo=UTC) if released else None
    return {
        "id": model.id,
        "object": "model",
        "created": int(created.timestamp()) if created else 0,
        "owned_by": model.provider,
        "provider": model.provider,
        "upstream_id": model.upstream_id,
        "aliases": list(model.aliases),
        "context_length": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "pricing": _pricing(model, today),
        "capabilities": _capabilities(model),
        "retired": model.retired(today),
        "retires_on": model.retires_on.isoformat() if model.retires_on else None,
        "replacement": model.replacement,
    }


def _pricing(model: Model, today: date) -> dict[str, Any]:
    """USD per million tokens as decimal strings, as of ``today``; images and searches in USD each."""
    prices = model.prices
    pricing: dict[str, Any] = {"currency": "USD", "unit": "1M tokens", "source": prices.source}
    announced = prices.announced
    in_force = announced is not None and today >= announced.starts_on
    if (rates := announced if in_force else prices.rates) is not None:
        pricing |= _rates(rates)
    if prices.long_context is not None:
        pricing["long_context"] = _rates(prices.long_context)
    if prices.tiers:
        pricing["tiers"] = {
            name: _rates(tier) if isinstance(tier, Rates) else {"factor": str(tier)}
            for name, tier in prices.tiers.items()
        }
    for name in ("per_image", "per_web_search", "per_grounded_prompt"):
        if (price := getattr(prices, name)) is not None:
            pricing[name] = str(price)
    if prices.regions:
        pricing["regions"] = {region: str(factor) for region, factor in prices.regions.items()}
    if announced is not None and not in_force:
        pricing["announced"] = {**_rates(announced), "starts_on": announced.starts_on.isoformat()}
    return pricing


def _rates(rates: Rates) -> dict[str, Any]:
    return {
        name: value if isinstance(value, int) else str(value)
        for name in rates.__struct_fields__
        if name != "starts_on" and (value := getattr(rates, name)) is not None
    }


def _capabilities(model: Model) -> dict[str, Any]:
    """What callers may use, natively supported by the vendor or emulated by translation (docs/translation.md)."""
    traits = model.traits
    return {
        "input_modalities": list(model.inputs),
        "output_modalities": list(model.outputs),
        "streaming": True,
        "tools": traits.tools,
        "parallel_tool_calls": traits.tools and traits.parallel_tool_calls,
        "json_object": traits.json_object or traits.json_schema,
        "json_schema": traits.json_schema,
        "reasoning": traits.thinking != "none" or not traits.thinking_off,
        "reasoning_efforts": _efforts(traits),
        "temperature": model.endpoint == "chat" and traits.sampling in ("free", "single", "without_effort"),
        "stop": traits.stop,
        "logprobs": traits.logprobs,
        "max_choices": traits.max_choices,
    }


def _efforts(traits: Traits) -> list[str]:
    """The accepted values of ``reasoning_effort``; models with a thinking budget map each to a number of tokens."""
    if traits.thinking != "budget":
        return list(traits.efforts)
    return [effort for effort in EFFORTS if traits.thinking_off or effort != "none"]
