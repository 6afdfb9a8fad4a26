"""The cost of an answer and the maximum cost of a request, in USD.

All arithmetic is exact decimal; the only rounding is that in ``atomic`` (facts/providers.md 1.4). A kind of token
without a rate of its own is charged at the plain input or output rate.
"""

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, localcontext
from operator import attrgetter
from typing import TypeVar

import msgspec

from gateway.catalog import Model, Prices, Rates
from gateway.openai_api.usage import Usage

_EXACT = Context(prec=80, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_PER_MILLION = -6
_ONE = Decimal(1)
_IMAGE_TOKENS = 2520
"""Tokens of the largest generated image, at 4K (facts/providers.md 10.3)."""

Priced = TypeVar("Priced")


class PriceTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Properties of a request that affect its price; the defaults give the highest price.

    ``tiers`` and ``regions`` are those that the answer may report, None for any. ``cache_writes`` is False if the
    request marks nothing for caching, ``audio`` if it contains none. ``web_searches`` is the maximum of each of its
    upstream ``calls``, ``search_tokens`` what one of them adds to the prompt.
    """

    tiers: Collection[str] | None = None
    regions: Collection[str] | None = None
    cache_writes: bool = True
    audio: bool = True
    web_searches: int = 0
    search_tokens: int = 0
    calls: int = 1


ANY_TERMS = PriceTerms()


def cost(model: Model, usage: Usage, on: date) -> Decimal:
    """The cost of ``usage`` of ``model`` on the day ``on``, at the reported tier, region and prompt length.

    A tier or region without a price of its own is charged as the standard one. Upstream calls are priced one by one,
    because long context rates depend on the prompt of a call.
    """
    if usage.unbilled:
        return Decimal(0)
    prices = model.prices
    with localcontext(_EXACT):
        usd = _flat_cost(prices, usage.images, usage.web_searches)
        if prices.rates is not None:
            standard = _standard_rates(prices, prices.rates, usage.prompt_tokens - usage.tool_prompt_tokens, on)
            tier = prices.tiers.get(usage.tier, standard)
            rates, factor = (standard, tier) if isinstance(tier, Decimal) else (tier, _ONE)
            factor *= prices.regions.get(usage.region, 1)
            usd += (_prompt_cost(rates, usage) + _completion_cost(rates, usage)).scaleb(_PER_MILLION) * factor
        return usd


def worst_case(
    model: Model,
    prompt_tokens: int,
    output_tokens: int | None,
    choices: int,
    images: int,
    terms: PriceTerms = ANY_TERMS,
) -> Decimal:
    """The maximum cost of a request, whatever is cached or answered, before and after announced price changes.

    ``prompt_tokens`` is an upper bound, ``output_tokens`` the limit per choice (None: the model's), ``images`` the
    maximum number of images.
    """
    with localcontext(_EXACT):
        fixed, per_token = _highest_rates(model, prompt_tokens, images, terms)
        return fixed + per_token * choices * _output_bound(model, output_tokens)


def affordable_output(
    model: Model,
    prompt_tokens: int,
    usd: Decimal,
    choices: int,
    images: int,
    terms: PriceTerms = ANY_TERMS,
) -> int | None:
    """The largest output limit per choice whose worst case is within ``usd``; None if the model's own limit fits.

    Negative if ``usd`` does not cover the prompt and the images.
    """
    with localcontext(_EXACT):
        fixed, per_token = _highest_rates(model, prompt_tokens, images, terms)
        if fixed > usd:
            return -1
        maximum = per_token * choices * _output_bound(model, None)
        if fixed + maximum <= usd:
            return None
        affordable = int((usd - fixed) // (per_token * choices))
        return affordable if affordable >= _output_floor(model) else -1


def atomic(cost_usd: Decimal, usd_per_token: Decimal, decimals: int) -> int:
    """``cost_usd`` in atomic units of a token worth ``usd_per_token``, rounded up once."""
    if cost_usd < 0 or usd_per_token <= 0:
        raise ValueError(f"no amount for {cost_usd} USD at {usd_per_token} USD per token")
    cost_numerator, cost_denominator = cost_usd.as_integer_ratio()
    rate_numerator, rate_denominator = usd_per_token.as_integer_ratio()
    units: int = 10**decimals
    return -(-cost_numerator * rate_denominator * units // (cost_denominator * rate_numerator))


def _flat_cost(prices: Prices, images: int, web_searches: int) -> Decimal:
    usd = Decimal(0)
    if prices.per_image is not None:
        usd += prices.per_image * images
    if prices.per_web_search is not None:
        usd += prices.per_web_search * web_searches
    if prices.per_grounded_prompt is not None and web_searches:
        usd += prices.per_grounded_prompt
    return usd


def _standard_rates(prices: Prices, rates: Rates, prompt_tokens: int, on: date) -> Rates:
    """The rates of the standard tier for a call with a prompt of this length."""
    if prices.long_context is not None and prompt_tokens > prices.long_context.over_tokens:
        return prices.long_context
    if prices.announced is not None and on >= prices.announced.starts_on:
        return prices.announced
    return rates


def _prompt_cost(rates: Rates, usage: Usage) -> Decimal:
    """Millionths of a USD for the prompt, by kind of token; the kinds together count up to the prompt's total.

    What web searches brought into it is included in their price (facts/providers.md 5.7).
    """
    left = usage.prompt_tokens - (usage.tool_prompt_tokens if usage.web_searches else 0)
    if not any(_specially_priced(usage)):
        return left * rates.input
    usd = Decimal(0)
    for rate, count in (
        (_cached_audio(rates), usage.cached_audio_tokens),
        (rates.audio_input, usage.audio_tokens - usage.cached_audio_tokens),
        (rates.cached_input, usage.cached_tokens - usage.cached_audio_tokens),
        (rates.cache_write_1h, usage.cache_write_1h_tokens),
        (rates.cache_write_5m, usage.cache_write_tokens),
    ):
        if count > 0:
            counted = min(count, left)
            left -= counted
            usd += counted * (rates.input if rate is None else rate)
    return usd + left * rates.input


_specially_priced = attrgetter(
    "cached_audio_tokens", "audio_tokens", "cached_tokens", "cache_write_1h_tokens", "cache_write_tokens"
)


def _cached_audio(rates: Rates) -> Decimal | None:
    """Without an audio rate, cached audio is cached text; with one, only a cached audio rate makes it cheaper."""
    if rates.cached_audio_input is not None:
        return rates.cached_audio_input
    return rates.cached_input if rates.audio_input is None else rates.audio_input


def _completion_cost(rates: Rates, usage: Usage) -> Decimal:
    image_tokens = min(usage.image_tokens, usage.completion_tokens)
    image_rate = rates.output if rates.image_output is None else rates.image_output
    return image_tokens * image_rate + (usage.completion_tokens - image_tokens) * rates.output


def _highest_rates(model: Model, prompt_tokens: int, images: int, terms: PriceTerms) -> tuple[Decimal, Decimal]:
    """USD of everything but the output, and USD per output token, at the highest rates that can apply.

    Without searches, which read the prompt again, a vendor bills no more of it than fits into the model's context. The
    estimate, which counts all that clients send, may be far above that.
    """
    prices = model.prices
    if model.context_length is not None and not terms.web_searches:
        prompt_tokens = min(prompt_tokens, model.context_length * terms.calls)
    fixed = _flat_cost(prices, images, 0) + _flat_cost(prices, 0, terms.web_searches) * terms.calls
    if prices.rates is None:
        return fixed, Decimal(0)
    factor = max([_ONE, *_select(prices.regions, terms.regions)]).scaleb(_PER_MILLION)
    prompt_rate = output_rate = Decimal(0)
    for rates, tier in _candidates(prices, prices.rates, prompt_tokens, terms):
        prompt_rate = max(prompt_rate, _highest_input_rate(rates, terms) * tier)
        output_rate = max(output_rate, _highest_output_rate(rates) * tier)
    prompt_tokens += terms.search_tokens * terms.web_searches * terms.calls
    return fixed + prompt_rate * factor * prompt_tokens, output_rate * factor


def _candidates(prices: Prices, rates: Rates, prompt_tokens: int, terms: PriceTerms) -> list[tuple[Rates, Decimal]]:
    """Every pair of rates and factor that can apply, before and after an announced change."""
    standards = [_standard_rates(prices, rates, prompt_tokens, date.min)]
    if prices.announced is not None:
        standards.append(_standard_rates(prices, rates, prompt_tokens, date.max))
    candidates: list[tuple[Rates, Decimal]] = []
    for tier in (_ONE, *_select(prices.tiers, terms.tiers)):
        if isinstance(tier, Decimal):
            candidates += [(standard, tier) for standard in standards]
        else:
            candidates.append((tier, _ONE))
    return candidates


def _select(priced: Mapping[str, Priced], wanted: Collection[str] | None) -> list[Priced]:
    """The prices of ``wanted``, None for all."""
    if wanted is None:
        return list(priced.values())
    return [priced[name] for name in wanted if name in priced]


def _highest_input_rate(rates: Rates, terms: PriceTerms) -> Decimal:
    if not (terms.audio or terms.cache_writes):
        return rates.input
    kinds = [rates.input]
    if terms.audio:
        kinds += [rates.audio_input or rates.input]
    if terms.cache_writes:
        kinds += [rates.cache_write_1h or rates.input, rates.cache_write_5m or rates.input]
    return max(kinds)


def _highest_output_rate(rates: Rates) -> Decimal:
    return rates.output if rates.image_output is None else max(rates.output, rates.image_output)


def _output_bound(model: Model, output_tokens: int | None) -> int:
    """Output tokens per choice: the request's limit, up to the model's, which defaults to its context length."""
    limit = model.max_output_tokens or model.context_length or 0
    return limit if output_tokens is None else max(_output_floor(model), min(limit, output_tokens))


def _output_floor(model: Model) -> int:
    """An image is generated whole, whatever the output limit."""
    return _IMAGE_TOKENS if "image" in model.outputs else 0
