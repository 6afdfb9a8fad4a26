"""Consistency checks of the catalogue.

Checks yield problems, each beginning with the path of the offending entry, instead of raising, so that one start
reports all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec.structs import asdict

if TYPE_CHECKING:
    from gateway.catalog import Model, Prices, Provider, Rates, Traits

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
TIERS = ("flex", "priority", "fast")
REGIONS = ("us",)

_MAX_PRICE, _PRICE_UNIT = Decimal(1_000_000), Decimal("1e-12")
_FLAT = ("per_image", "per_web_search", "per_grounded_prompt")

_PRICE_ORDER = (
    ("cached_input", "input"),
    ("input", "cache_write_5m"),
    ("cache_write_5m", "cache_write_1h"),
    ("cached_audio_input", "audio_input"),
    ("output", "image_output"),
)
"""Pairs of token kinds of which the first must not cost more than the second."""


def check(providers: Mapping[str, Provider], models: Mapping[str, Model]) -> Iterator[str]:
    """All problems about the entries, except about names."""
    for provider in providers.values():
        yield from _under(f"providers.{provider.id}", _provider(provider))
    yield from _shared_names(providers)
    for model in models.values():
        path = f"models.{model.id}"
        if model.provider not in providers:
            yield f"{path}.provider: unknown provider {model.provider!r}"
        yield from _under(path, _identity(model))
        yield from _under(path, _limits(model))
        yield from _under(path, _modalities(model))
        yield from _under(path, _retirement(model, models))
        yield from _under(f"{path}.prices", _prices(model))
        yield from _under(f"{path}.traits", _thinking(model))
        yield from _under(f"{path}.traits", _parameters(model))


def _under(path: str, problems: Iterator[str]) -> Iterator[str]:
    for problem in problems:
        yield f"{path}.{problem}"


# ---------------------------------------------------------------------------------------------------------- providers


def _provider(provider: Provider) -> Iterator[str]:
    for field in ("call_tokens", "tool_tokens", "search_tokens"):
        if (tokens := getattr(provider, field)) < 0:
            yield f"{field}: {tokens} is negative"
    if not provider.base_url.startswith("https://") or provider.base_url.endswith("/"):
        yield f"base_url: {provider.base_url!r} is not an https URL without a final slash"


def _shared_names(providers: Mapping[str, Provider]) -> Iterator[str]:
    owners: dict[tuple[str, str], str] = {}
    for provider in providers.values():
        names = {
            "key_variable": (provider.key_variable,),
            "base_url_variable": (provider.base_url_variable,),
            "injected_key": (provider.injected_key,),
            "prefixes": (provider.id, *provider.prefixes),
        }
        for field, values in names.items():
            for value in values:
                if (owner := owners.setdefault((field, value), provider.id)) != provider.id:
                    yield f"providers.{provider.id}.{field}: {value!r} already belongs to {owner}"


# ------------------------------------------------------------------------------------------------------------- models


def _identity(model: Model) -> Iterator[str]:
    for name in (model.id, model.upstream_id, *model.aliases):
        if not name or name != name.strip():
            yield f"aliases: {name!r} is empty or has surrounding whitespace"
    yield from _repeated("aliases", (model.id, *model.aliases))


def _limits(model: Model) -> Iterator[str]:
    context = model.context_length
    if model.endpoint == "chat" and context is None:
        yield "context_length: missing"
    for field in ("context_length", "max_output_tokens"):
        limit = getattr(model, field)
        if limit is not None and limit < 1:
            yield f"{field}: {limit} is not positive"
        elif limit is not None and context is not None and limit > context:
            yield f"{field}: {limit} is more than context_length"


def _modalities(model: Model) -> Iterator[str]:
    if model.image_tokens < 1:
        yield f"image_tokens: {model.image_tokens} is not positive"
    yield from _repeated("inputs", model.inputs)
    yield from _repeated("outputs", model.outputs)
    if "text" not in model.inputs:
        yield "inputs: must include text"
    if model.endpoint == "images" and model.outputs != ("image",):
        yield "outputs: must be only image for an images endpoint"
    if model.endpoint == "chat" and "text" not in model.outputs:
        yield "outputs: must include text"


def _retirement(model: Model, models: Mapping[str, Model]) -> Iterator[str]:
    """Dates and replacement, which must outlive the model."""
    if model.retires_on and model.released and model.retires_on <= model.released:
        yield "retires_on: must be after released"
    if model.replacement is None:
        if model.retires_on is not None:
            yield "replacement: required with retires_on"
        if model.rerouted:
            yield "rerouted: requires a replacement"
        return
    replacement = models.get(model.replacement)
    if replacement is None:
        yield f"replacement: unknown model {model.replacement!r}"
        return
    if model.retires_on is None:
        yield "replacement: requires retires_on"
    elif replacement.retires_on is not None and replacement.retires_on <= model.retires_on:
        yield f"replacement: {replacement.id} is retired no later than the model"
    if replacement.endpoint != model.endpoint:
        yield f"replacement: {replacement.id} has a different endpoint"


# ------------------------------------------------------------------------------------------------------------- prices


def _prices(model: Model) -> Iterator[str]:
    prices = model.prices
    if not prices.source.strip():
        yield "source: missing"
    for field in _FLAT:
        price: Decimal | None = getattr(prices, field)
        if price is not None and not _is_price(price):
            yield f"{field}: {price} is not a price"
    if prices.per_web_search is not None and prices.per_grounded_prompt is not None:
        yield "per_grounded_prompt: cannot be combined with per_web_search"
    yield from _factors(prices)
    yield from _flat_or_metered(model)
    if prices.rates is None:
        for field in ("long_context", "announced", "tiers", "regions"):
            if getattr(prices, field):
                yield f"{field}: without rates"
        return
    yield from _under("rates", _rates(prices.rates))
    yield from _variants(model, prices.rates)


def _flat_or_metered(model: Model) -> Iterator[str]:
    prices = model.prices
    if model.endpoint == "images":
        if prices.per_image is None:
            yield "per_image: required for an images endpoint"
        if prices.rates is not None:
            yield "rates: not allowed for an images endpoint"
        return
    if prices.per_image is not None:
        yield "per_image: only allowed for an images endpoint"
    if prices.rates is None:
        yield "rates: missing"
    elif (prices.rates.image_output is not None) != ("image" in model.outputs):
        yield "rates.image_output: required if and only if outputs include image"


def _rates(rates: Rates) -> Iterator[str]:
    wrong = [(kind, price) for kind, price in _priced(rates).items() if not _is_price(price)]
    for kind, price in wrong:
        yield f"{kind}: {price} is not a price"
    if wrong:
        return
    priced = _priced(rates)
    for cheaper, dearer in _PRICE_ORDER:
        if cheaper in priced and dearer in priced and priced[cheaper] > priced[dearer]:
            yield f"{cheaper}: {priced[cheaper]} is more than {dearer}"
    if "cached_audio_input" in priced and "audio_input" not in priced:
        yield "cached_audio_input: requires audio_input"
    if ("cache_write_5m" in priced) != ("cache_write_1h" in priced):
        yield "cache_write_5m: requires cache_write_1h and vice versa"


def _variants(model: Model, rates: Rates) -> Iterator[str]:
    """Long context, announced and tier rates must price the same kinds of token as the standard rates."""
    prices = model.prices
    own_tiers = {name: tier for name, tier in prices.tiers.items() if not isinstance(tier, Decimal)}
    if long := prices.long_context:
        yield from _under("long_context", _variant(long, rates))
        if long.over_tokens < 1 or (model.context_length is not None and long.over_tokens >= model.context_length):
            yield f"long_context.over_tokens: {long.over_tokens} is not within the context"
        standard = _priced(rates)
        for kind, price in _priced(long).items():
            if kind in standard and _is_price(standard[kind]) and _is_price(price) and price < standard[kind]:
                yield f"long_context.{kind}: {price} is less than the standard rate"
    if announced := prices.announced:
        yield from _under("announced", _variant(announced, rates))
        if long or own_tiers:
            yield "announced: not supported with long context or tier rates"
    for name, tier in own_tiers.items():
        yield from _under(f"tiers.{name}", _variant(tier, rates))
        if long:
            yield f"tiers.{name}: must be a factor with long context rates"


def _variant(variant: Rates, standard: Rates) -> Iterator[str]:
    yield from _rates(variant)
    if different := _priced(variant).keys() ^ _priced(standard).keys():
        yield f"{min(different)}: must be priced both here and in the standard rates"


def _factors(prices: Prices) -> Iterator[str]:
    for name, tier in prices.tiers.items():
        if name not in TIERS:
            yield f"tiers.{name}: unknown tier"
        elif isinstance(tier, Decimal) and not (_is_price(tier) and (tier < 1) == (name == "flex")):
            yield f"tiers.{name}: {tier} is not a factor {'below' if name == 'flex' else 'from'} 1"
    for name, factor in prices.regions.items():
        if name not in REGIONS:
            yield f"regions.{name}: unknown region"
        elif not _is_price(factor) or factor < 1:
            yield f"regions.{name}: {factor} is not a factor from 1"


def _priced(rates: Rates) -> dict[str, Decimal]:
    """The kinds of token with a price of their own."""
    return {kind: price for kind, price in asdict(rates).items() if isinstance(price, Decimal)}


def _is_price(price: Decimal) -> bool:
    """Whether it is positive and has no more digits than ``billing.pricing`` multiplies without rounding."""
    return price.is_finite() and 0 < price <= _MAX_PRICE and price % _PRICE_UNIT == 0


# ------------------------------------------------------------------------------------------------------------- traits


def _thinking(model: Model) -> Iterator[str]:
    traits = model.traits
    worded = traits.thinking in ("effort", "switch", "prompt", "adaptive", "always", "level")
    yield from _ordered("efforts", traits.efforts, EFFORTS)
    if worded and not traits.efforts:
        yield f"efforts: required with thinking {traits.thinking!r}"
    if traits.thinking == "none":
        for field in ("efforts", "default_effort", "signatures", "thinking_hidden"):
            if getattr(traits, field):
                yield f"{field}: requires thinking"
    if traits.thinking_off and traits.thinking in ("always", "level"):
        yield f"thinking_off: thinking {traits.thinking!r} cannot be switched off"
    if traits.thinking == "effort" and traits.thinking_off != ("none" in traits.efforts):
        yield "thinking_off: required if and only if efforts include none"
    defaults = {None, *traits.efforts, *(["none"] if traits.thinking_off else [])}
    if traits.default_effort not in defaults:
        yield f"default_effort: {traits.default_effort} is not one of the efforts"
    yield from _budget(model)


def _budget(model: Model) -> Iterator[str]:
    budget = model.traits.thinking_budget
    if (model.traits.thinking == "budget") != (budget is not None):
        yield "thinking_budget: required if and only if thinking is 'budget'"
    if budget is not None:
        smallest, largest = budget
        if not 1 <= smallest < largest:
            yield f"thinking_budget: {smallest} to {largest} is not a range"
        if model.max_output_tokens is not None and largest >= model.max_output_tokens:
            yield f"thinking_budget: {largest} must be below max_output_tokens"


def _parameters(model: Model) -> Iterator[str]:
    traits = model.traits
    yield from _ordered("verbosity", traits.verbosity, ("low", "medium", "high"))
    if not 1 <= traits.max_choices <= 128:
        yield f"max_choices: {traits.max_choices} is not between 1 and 128"
    if traits.sampling == "without_effort" and "none" not in traits.efforts:
        yield "sampling: 'without_effort' requires the effort none"
    if traits.parallel_tool_calls and not traits.tools:
        yield "parallel_tool_calls: requires tools"
    if traits.json_with_tools and not (traits.tools and (traits.json_object or traits.json_schema)):
        yield "json_with_tools: requires tools and JSON output"
    if traits.tool_result_images and "image" not in model.inputs:
        yield "tool_result_images: requires image input"
    if traits.output_within_context and model.max_output_tokens is None:
        yield "output_within_context: requires max_output_tokens"
    if model.endpoint == "images":
        yield from _image_only(traits)


def _image_only(traits: Traits) -> Iterator[str]:
    for field in ("tools", "json_object", "json_schema", "stop", "logprobs", "max_completion_tokens"):
        if getattr(traits, field):
            yield f"{field}: not allowed for an images endpoint"
    if traits.thinking != "none":
        yield "thinking: not allowed for an images endpoint"


def _ordered(field: str, words: Sequence[str], order: Sequence[str]) -> Iterator[str]:
    if list(words) != [word for word in order if word in words]:
        yield f"{field}: not in the order {', '.join(order)}"


def _repeated(field: str, words: Sequence[str]) -> Iterator[str]:
    for word in dict.fromkeys(words):
        if words.count(word) > 1:
            yield f"{field}: {word!r} is repeated"
