"""The most that an answer can cost, for which it is quoted, and the output that an amount pays for."""

from datetime import date
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.billing.pricing import ANY_TERMS, PriceTerms, affordable_output, cost, worst_case
from gateway.catalog import Model, bundled
from gateway.openai_api.usage import Usage
from tests.billing.priced import days, model, models, tokens, usages, usd

PLAIN = PriceTerms(tiers=(), regions=(), cache_writes=False, audio=False)
SEARCH_TOKENS = bundled().providers["anthropic"].search_tokens


def test_the_worst_case_of_a_plain_request() -> None:
    assert worst_case(model("gpt-5"), 1000, 2000, 1, 0, PLAIN) == Decimal("0.02125")
    assert worst_case(model("gpt-5"), 1000, 2000, 3, 0, PLAIN) == Decimal("0.06125")


def test_the_worst_case_without_an_output_limit_is_the_models() -> None:
    assert worst_case(model("gpt-5"), 0, None, 1, 0, PLAIN) == Decimal("1.28")
    assert worst_case(model("gpt-5"), 0, 999_999, 1, 0, PLAIN) == Decimal("1.28")
    assert worst_case(model("grok-3"), 0, None, 1, 0, PLAIN) == Decimal("1.96608")


def test_the_worst_case_crosses_into_long_context_with_the_prompt() -> None:
    assert worst_case(model("gemini-2.5-pro"), 200_000, 1000, 1, 0, PLAIN) == Decimal("0.26")
    assert worst_case(model("gemini-2.5-pro"), 200_001, 1000, 1, 0, PLAIN) == Decimal("0.5150025")


@pytest.mark.parametrize(
    ("name", "terms", "expected"),
    [
        ("claude-sonnet-4-6", PLAIN, "0.018"),
        ("claude-sonnet-4-6", PriceTerms(tiers=(), regions=(), audio=False), "0.021"),
        ("claude-sonnet-4-6", PriceTerms(tiers=(), cache_writes=False), "0.0198"),
        ("claude-sonnet-4-6", ANY_TERMS, "0.0231"),
        ("claude-opus-4-8", PriceTerms(tiers=("fast",), regions=(), cache_writes=False), "0.06"),
        ("gpt-5", PriceTerms(tiers=("flex",), regions=()), "0.01125"),
        ("gpt-5", PriceTerms(tiers=("priority",), regions=()), "0.0225"),
        ("gpt-5", ANY_TERMS, "0.0225"),
        ("gemini-2.5-flash", PriceTerms(tiers=(), audio=True), "0.0035"),
        ("gemini-2.5-flash", PriceTerms(tiers=(), audio=False, web_searches=4), "0.0378"),
        ("gemini-2.5-flash", PriceTerms(tiers=(), audio=False, web_searches=4, calls=3), "0.1078"),
        ("gemini-3.5-flash", PriceTerms(tiers=(), audio=False, web_searches=4, calls=3), "0.1785"),
        ("gemini-2.5-flash", ANY_TERMS, "0.0063"),
        ("gemini-3.8-flash", PLAIN, "0.009"),
        ("gemini-2.5-flash-image", PLAIN, "0.0759"),
        ("grok-2-image", PLAIN, "0.14"),
    ],
)
def test_the_dearest_terms(name: str, terms: PriceTerms, expected: str) -> None:
    assert worst_case(model(name), 1000, 1000, 1, 2, terms) == Decimal(expected)


def test_affordable_output() -> None:
    assert affordable_output(model("gpt-5"), 1000, Decimal("0.02125"), 1, 0, PLAIN) == 2000
    assert affordable_output(model("gpt-5"), 1000, Decimal("0.02125"), 2, 0, PLAIN) == 1000
    assert affordable_output(model("gpt-5"), 1000, Decimal("0.00125"), 1, 0, PLAIN) == 0
    assert affordable_output(model("gpt-5"), 1000, Decimal("0.00124"), 1, 0, PLAIN) == -1
    assert affordable_output(model("gpt-5"), 0, Decimal("1.28"), 1, 0, PLAIN) is None
    assert affordable_output(model("gpt-5"), 0, Decimal("1.2799999"), 1, 0, PLAIN) == 127_999
    assert affordable_output(model("grok-2-image"), 9, Decimal("0.07"), 1, 1, PLAIN) is None
    assert affordable_output(model("grok-2-image"), 9, Decimal("0.06"), 1, 1, PLAIN) == -1


def test_what_searches_bring_in_is_quoted() -> None:
    """Anthropic counts it as prompt; the figures of one search are those of its documentation."""
    terms = PriceTerms(
        tiers=(), regions=(), cache_writes=False, audio=False, web_searches=5, search_tokens=SEARCH_TOKENS
    )
    for searches, written, read in ((1, 7_345, 7_123), (5, 5 * 7_345, 15 * 7_345)):
        found = {"prompt_tokens": 105 + written + read, "cached_tokens": read, "cache_write_tokens": written}
        charged = usd("claude-sonnet-4-6", completion_tokens=6039, web_searches=searches, **found)
        assert charged <= worst_case(model("claude-sonnet-4-6"), 210, 6039, 1, 0, terms)


def test_the_searches_of_each_call_bring_something_in() -> None:
    """As for a list of prompts, each of which is a call of its own."""
    terms = PriceTerms(tiers=(), regions=(), web_searches=5, search_tokens=SEARCH_TOKENS)
    claude = model("claude-sonnet-4-6")
    thrice = msgspec.structs.replace(terms, calls=3)
    assert worst_case(claude, 0, 0, 1, 0, thrice) == 3 * worst_case(claude, 0, 0, 1, 0, terms) > 0


def test_searches_alone_make_no_long_prompt() -> None:
    terms = PriceTerms(tiers=(), regions=(), audio=False, web_searches=5, search_tokens=SEARCH_TOKENS)
    assert worst_case(model("gemini-3.1-pro-preview"), 190_000, 0, 1, 0, terms) == Decimal("0.57")


def test_no_more_prompt_is_quoted_than_the_model_reads() -> None:
    pictures = model("gemini-3.1-flash-image")
    whole = worst_case(pictures, 131_072, 2520, 1, 1, PLAIN)
    assert worst_case(pictures, 131_071, 2520, 1, 1, PLAIN) < whole
    assert worst_case(pictures, 2_106_936, 2520, 1, 1, PLAIN) == whole
    assert affordable_output(pictures, 2_106_936, whole, 1, 1, PLAIN) == 2520
    searching = PriceTerms(tiers=(), regions=(), cache_writes=False, audio=False, web_searches=5)
    claude = model("claude-haiku-4-5")
    assert worst_case(claude, 10**7, 0, 1, 0, searching) > worst_case(claude, 10**6, 0, 1, 0, searching)
    prompts = PriceTerms(tiers=(), regions=(), cache_writes=False, audio=False, calls=2)
    assert worst_case(model("gpt-5"), 10**7, 0, 1, 0, prompts) == 2 * worst_case(model("gpt-5"), 10**7, 0, 1, 0, PLAIN)


def test_models_that_cannot_search_bring_in_nothing() -> None:
    terms = PriceTerms(tiers=(), regions=(), web_searches=5)
    assert worst_case(model("grok-4.3"), 1000, 0, 1, 0, terms) == Decimal("0.00125")


def test_a_picture_by_tokens_is_quoted_whole_whatever_the_output_limit() -> None:
    pictures = model("gemini-3.1-flash-image")
    charged = usd("gemini-3.1-flash-image", prompt_tokens=5, completion_tokens=2520, image_tokens=2520)
    assert worst_case(pictures, 5, 100, 1, 1) >= charged
    assert affordable_output(pictures, 5, Decimal("0.10"), 1, 1) == -1


@given(models, usages(), days)
def test_an_answer_never_costs_more_than_its_worst_case(priced: Model, usage: Usage, on: date) -> None:
    bounded = msgspec.structs.replace(priced, max_output_tokens=None, context_length=10**9)
    terms = PriceTerms(web_searches=usage.web_searches)
    assert cost(priced, usage, on) <= worst_case(
        bounded, usage.prompt_tokens, usage.completion_tokens, 1, usage.images, terms
    )
    assert cost(priced, usage, on) <= worst_case(
        bounded, usage.prompt_tokens + 1, usage.completion_tokens, 1, usage.images, terms
    )


@given(models, tokens, st.integers(1, 8), st.decimals(Decimal("0.0001"), Decimal(10), places=6))
def test_the_affordable_output_is_the_largest(priced: Model, prompt: int, choices: int, usd_cap: Decimal) -> None:
    limit = affordable_output(priced, prompt, usd_cap, choices, 1)
    if limit is None:
        assert worst_case(priced, prompt, None, choices, 1) <= usd_cap
    else:
        assert limit < 0 or worst_case(priced, prompt, limit, choices, 1) <= usd_cap
        assert worst_case(priced, prompt, limit + 1, choices, 1) > usd_cap
