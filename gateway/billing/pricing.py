"""What an answer costs and what a request may cost, in USD.

Everything is exact: token counts times decimal rates, with no rounding before the one in ``atomic``
(facts/providers.md 1.4). A kind of token without a rate of its own is charged as plain input or output.
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
_PICTURE_TOKENS = 2520
"""The largest picture that is charged by tokens, at 4K (facts/providers.md 10.3)."""

Priced = TypeVar("Priced")


class PriceTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a request can bring about that changes its price; the defaults are the dearest for the payer.

    ``tiers`` and ``regions`` are those that the answer may report, None for any. ``cache_writes`` is False when the
    request marks nothing for caching, ``audio`` when it carries none. ``web_searches`` is the most that one of its
    upstream ``calls`` may make.
    """

    tiers: Collection[str] | None = None
    regions: Collection[str] | None = None
    cache_writes: bool = True
    audio: bool = True
    web_searches: int = 0
    calls: int = 1


ANY_TERMS = PriceTerms()


def cost(model: Model, usage: Usage, on: date) -> Decimal:
    """What ``usage`` of ``model`` costs on the day ``on``: at the tier, region and prompt length that were answered.

    A tier or region without a price of its own is charged as the standard one. Several upstream calls are priced one
    by one: long context rates go by the prompt of a call.
    """
    prices = model.prices
    with localcontext(_EXACT):
        usd = _flat(prices, usage.images, usage.web_searches)
        if prices.rates is not None:
            standard = _standard(prices, prices.rates, usage.prompt_tokens - usage.tool_prompt_tokens, on)
            tier = prices.tiers.get(usage.tier, standard)
            rates, factor = (standard, tier) if isinstance(tier, Decimal) else (tier, Decimal(1))
            factor *= prices.regions.get(usage.region, 1)
            usd += (_prompt(rates, usage) + _completion(rates, usage)).scaleb(_PER_MILLION) * factor
        return usd


def worst_case(
    model: Model,
    prompt_tokens: int,
    output_tokens: int | None,
    choices: int,
    images: int,
    terms: PriceTerms = ANY_TERMS,
) -> Decimal:
    """The most that a request can cost, whatever is cached, announced or answered.

    ``prompt_tokens`` is an upper bound, ``output_tokens`` the limit per choice (None: the model's), ``images`` the
    most pictures that can be delivered.
    """
    with localcontext(_EXACT):
        fixed, per_token = _dearest(model, prompt_tokens, images, terms)
        return fixed + per_token * choices * _output_bound(model, output_tokens)


def affordable_output(
    model: Model,
    prompt_tokens: int,
    usd: Decimal,
    choices: int,
    images: int,
    terms: PriceTerms = ANY_TERMS,
) -> int | None:
    """The largest output limit per choice whose worst case is within ``usd``; None when the model's own limit fits.

    Negative when ``usd`` is not even enough for the prompt and the pictures.
    """
    with localcontext(_EXACT):
        fixed, per_token = _dearest(model, prompt_tokens, images, terms)
        if fixed > usd:
            return -1
        dearest = per_token * choices * _output_bound(model, None)
        if fixed + dearest <= usd:
            return None
        affordable = int((usd - fixed) // (per_token * choices))
        return affordable if affordable >= _output_floor(model) else -1


def atomic(cost_usd: Decimal, usd_per_token: Decimal, decimals: int) -> int:
    """``cost_usd`` in the smallest units of a payment token worth ``usd_per_token``, rounded up once."""
    if cost_usd < 0 or usd_per_token <= 0:
        raise ValueError(f"no amount for {cost_usd} USD at {usd_per_token} USD per token")
    cost_over, cost_under = cost_usd.as_integer_ratio()
    rate_over, rate_under = usd_per_token.as_integer_ratio()
    units: int = 10**decimals
    return -(-cost_over * rate_under * units // (cost_under * rate_over))


def _flat(prices: Prices, images: int, web_searches: int) -> Decimal:
    usd = Decimal(0)
    if prices.per_image is not None:
        usd += prices.per_image * images
    if prices.per_web_search is not None:
        usd += prices.per_web_search * web_searches
    if prices.per_grounded_prompt is not None and web_searches:
        usd += prices.per_grounded_prompt
    return usd


def _standard(prices: Prices, rates: Rates, prompt_tokens: int, on: date) -> Rates:
    """The rates of the standard tier for a call with a prompt of this length."""
    if prices.long_context is not None and prompt_tokens > prices.long_context.over_tokens:
        return prices.long_context
    if prices.announced is not None and on >= prices.announced.starts_on:
        return prices.announced
    return rates


def _prompt(rates: Rates, usage: Usage) -> Decimal:
    """Prompt tokens by kind, USD per million; details that add up to more than the prompt count only up to it."""
    left = usage.prompt_tokens
    if not any(_dearer_or_cheaper(usage)):
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


_dearer_or_cheaper = attrgetter(
    "cached_audio_tokens", "audio_tokens", "cached_tokens", "cache_write_1h_tokens", "cache_write_tokens"
)


def _cached_audio(rates: Rates) -> Decimal | None:
    """Audio without a rate of its own is text, cached or not; with one, a cached price must be its own too."""
    if rates.cached_audio_input is not None:
        return rates.cached_audio_input
    return rates.cached_input if rates.audio_input is None else rates.audio_input


def _completion(rates: Rates, usage: Usage) -> Decimal:
    pictures = min(usage.image_tokens, usage.completion_tokens)
    image_rate = rates.output if rates.image_output is None else rates.image_output
    return pictures * image_rate + (usage.completion_tokens - pictures) * rates.output


def _dearest(model: Model, prompt_tokens: int, images: int, terms: PriceTerms) -> tuple[Decimal, Decimal]:
    """USD of everything but the output, and USD per output token, each at the dearest rates that can apply."""
    prices = model.prices
    fixed = _flat(prices, images, 0) + _flat(prices, 0, terms.web_searches) * terms.calls
    if prices.rates is None:
        return fixed, Decimal(0)
    factor = max([_ONE, *_known(prices.regions, terms.regions)]).scaleb(_PER_MILLION)
    prompt_rate = output_rate = Decimal(0)
    for rates, tier in _candidates(prices, prices.rates, prompt_tokens, terms):
        prompt_rate = max(prompt_rate, _dearest_input(rates, terms) * tier)
        output_rate = max(output_rate, _dearest_output(rates) * tier)
    return fixed + prompt_rate * factor * prompt_tokens, output_rate * factor


def _candidates(prices: Prices, rates: Rates, prompt_tokens: int, terms: PriceTerms) -> list[tuple[Rates, Decimal]]:
    """Every pair of rates and factor that the answer may be charged at, before and after an announced change."""
    standards = [_standard(prices, rates, prompt_tokens, date.min)]
    if prices.announced is not None:
        standards.append(_standard(prices, rates, prompt_tokens, date.max))
    candidates: list[tuple[Rates, Decimal]] = []
    for tier in (_ONE, *_known(prices.tiers, terms.tiers)):
        if isinstance(tier, Decimal):
            candidates += [(standard, tier) for standard in standards]
        else:
            candidates.append((tier, _ONE))
    return candidates


def _known(priced: Mapping[str, Priced], wanted: Collection[str] | None) -> list[Priced]:
    """The prices of those that are wanted, None for all."""
    if wanted is None:
        return list(priced.values())
    return [priced[name] for name in wanted if name in priced]


def _dearest_input(rates: Rates, terms: PriceTerms) -> Decimal:
    if not (terms.audio or terms.cache_writes):
        return rates.input
    kinds = [rates.input]
    if terms.audio:
        kinds += [rates.audio_input or rates.input]
    if terms.cache_writes:
        kinds += [rates.cache_write_1h or rates.input, rates.cache_write_5m or rates.input]
    return max(kinds)


def _dearest_output(rates: Rates) -> Decimal:
    return rates.output if rates.image_output is None else max(rates.output, rates.image_output)


def _output_bound(model: Model, output_tokens: int | None) -> int:
    """Output tokens per choice: the request's limit within the model's, which is its context if it has no other."""
    limit = model.max_output_tokens or model.context_length or 0
    return limit if output_tokens is None else max(_output_floor(model), min(limit, output_tokens))


def _output_floor(model: Model) -> int:
    """A picture comes whole, whatever output limit was asked for."""
    return _PICTURE_TOKENS if "image" in model.outputs else 0
