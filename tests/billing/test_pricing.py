"""What answers cost: the worked figures of the fact sheet, recorded bills, and the laws of pricing."""

import re
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.billing.pricing import atomic, cost
from gateway.catalog import Model, Prices, Rates, bundled
from gateway.openai_api.usage import Usage
from tests.billing.priced import TODAY, days, model, models, usages, usd

TRANSCRIPTS = Path(__file__).parents[2].parent / "shared" / "transcripts"


# facts/providers.md 12.5
WORKED = [
    ("claude-haiku-4-5", {"prompt_tokens": 7361, "cached_tokens": 7351, "completion_tokens": 4}, "0.0007651"),
    (
        "claude-sonnet-4-5",
        {"prompt_tokens": 1532, "cached_tokens": 1111, "cache_write_tokens": 418, "completion_tokens": 33},
        "0.0024048",
    ),
    (
        "gemini-2.5-flash",
        {"prompt_tokens": 3520, "cached_tokens": 3512, "completion_tokens": 44, "reasoning_tokens": 42},
        "0.00021776",
    ),
    ("gemini-2.5-flash", {"prompt_tokens": 145, "audio_tokens": 139, "completion_tokens": 34}, "0.0002258"),
    (
        "gemini-3.1-flash-image",
        {"prompt_tokens": 5, "completion_tokens": 1518, "image_tokens": 1120},
        "0.0683965",
    ),
    (
        "grok-3-mini",
        {"prompt_tokens": 15, "cached_tokens": 2, "completion_tokens": 223, "reasoning_tokens": 213},
        "0.00011555",
    ),
    ("gpt-5", {"prompt_tokens": 12, "completion_tokens": 1888, "reasoning_tokens": 1600}, "0.018895"),
    # 1.4, first recorded proof
    ("grok-4.3", {"prompt_tokens": 349, "cached_tokens": 128, "completion_tokens": 241}, "0.00090435"),
]


@pytest.mark.parametrize(("name", "usage", "expected"), WORKED)
def test_worked_figures(name: str, usage: dict[str, int], expected: str) -> None:
    assert usd(name, **usage) == Decimal(expected)


def test_xai_bills_one_tick_per_tenth_of_a_nanodollar() -> None:
    assert usd("grok-3-mini", prompt_tokens=15, cached_tokens=2, completion_tokens=223) * 10**10 == 1_155_500


def recorded_bills() -> list[tuple[str, Usage, int]]:
    """Every usage object with a bill in the recorded xAI answers, streamed and not, reasoning on top of completion."""
    bills = []
    for path in sorted((TRANSCRIPTS / "xai").glob("*.json")):
        transcript = msgspec.json.decode(path.read_bytes())
        response = transcript["response"]
        texts = [msgspec.json.encode(response.get("json")).decode(), response.get("body") or ""]
        for found in re.finditer(
            r'"model":\s*"([^"]+)"[^\n]*?"usage":\s*(\{.*?"cost_in_usd_ticks":\s*\d+)', "\n".join(texts)
        ):
            wire = msgspec.json.decode(found[2] + "}")
            usage = Usage(
                prompt_tokens=wire["prompt_tokens"],
                cached_tokens=wire["prompt_tokens_details"]["cached_tokens"],
                completion_tokens=wire["total_tokens"] - wire["prompt_tokens"],
            )
            bills.append((found[1], usage, wire["cost_in_usd_ticks"]))
    return bills


def test_recorded_xai_bills() -> None:
    priced = [(bundled().get(name), usage, ticks) for name, usage, ticks in recorded_bills()]
    known = [(found, usage, ticks) for found, usage, ticks in priced if found is not None]
    if not known:
        pytest.skip("no recorded bills beside the repository")
    for found, usage, ticks in known:
        assert cost(found, usage, TODAY) * 10**10 == ticks


def test_cache_writes_for_an_hour_cost_double() -> None:
    assert usd("claude-haiku-4-5", prompt_tokens=1000, cache_write_1h_tokens=1000) == Decimal("0.002")
    assert usd("claude-haiku-4-5", prompt_tokens=1000, cache_write_tokens=1000) == Decimal("0.00125")


def test_cache_writes_without_a_price_of_their_own_are_input() -> None:
    assert usd("gpt-5", prompt_tokens=1000, cache_write_tokens=400) == usd("gpt-5", prompt_tokens=1000)


def test_what_the_successors_of_gemini_2_5_had_cached_costs_a_tenth() -> None:
    """Google caches without being asked, and answers the 2.5 models' requests with these from 2026-12-01."""
    assert usd("gemini-3.5-flash-lite", prompt_tokens=1000, cached_tokens=1000) == Decimal("0.00003")
    assert usd("gemini-3.8-flash", prompt_tokens=1000, cached_tokens=1000) == Decimal("0.000075")
    cached = Usage(prompt_tokens=1000, cached_tokens=1000)
    assert cost(model("gemini-3.8-flash"), cached, date(2027, 1, 1)) == Decimal("0.00015")


def test_cached_audio() -> None:
    usage = {"prompt_tokens": 100, "audio_tokens": 60, "cached_tokens": 50, "cached_audio_tokens": 40}
    # 20 audio at 1.00, 40 cached audio at 0.10, 10 cached text at 0.03, 30 text at 0.30
    assert usd("gemini-2.5-flash", **usage) == Decimal("0.0000333")


def test_audio_at_the_text_price_is_cached_at_the_text_price() -> None:
    usage = {"prompt_tokens": 100, "audio_tokens": 100, "cached_tokens": 100, "cached_audio_tokens": 100}
    assert usd("gemini-2.5-pro", **usage) == Decimal("0.0000125")


def test_an_unknown_cached_price_grants_no_discount() -> None:
    assert usd("grok-2", prompt_tokens=10, cached_tokens=10) == Decimal("0.00002")
    rates = Rates(input=Decimal("0.30"), output=Decimal("2.50"), cached_input=Decimal("0.03"), audio_input=Decimal(1))
    changed = msgspec.structs.replace(model("gemini-2.5-flash"), prices=Prices(source="a test", rates=rates))
    usage = Usage(prompt_tokens=10, audio_tokens=10, cached_tokens=10, cached_audio_tokens=10)
    assert cost(changed, usage, TODAY) == Decimal("0.00001")


@pytest.mark.parametrize(
    ("name", "prompt", "expected"),
    [
        ("gemini-2.5-pro", 200_000, "0.265"),  # 0.2 M at 1.25 and 1500 at 10
        ("gemini-2.5-pro", 200_001, "0.5225025"),  # at 2.5 and 15
        ("grok-4.3", 199_999, "0.25374875"),
        ("grok-4.3", 200_000, "0.5075"),
        ("seed-1.6", 128_000, "0.035"),
        ("seed-1.6", 128_001, "0.0700005"),
    ],
)
def test_long_prompts_change_the_price_of_the_whole_request(name: str, prompt: int, expected: str) -> None:
    assert usd(name, prompt_tokens=prompt, completion_tokens=1500) == Decimal(expected)


def test_what_a_search_brings_in_is_included_in_its_price() -> None:
    """The search is $0.014, 100 of the tokens are the caller's own (facts/providers.md 5.7, 10.3)."""
    usage = {"prompt_tokens": 18_100, "tool_prompt_tokens": 18_000, "completion_tokens": 10}
    assert usd("gemini-3.1-pro-preview", **usage, web_searches=1) == Decimal("0.01432")
    assert usd("gemini-3.1-pro-preview", **usage) == Decimal("0.03632")


def test_what_a_tool_brings_in_is_charged_but_makes_no_long_prompt() -> None:
    """The rates go by promptTokenCount alone (facts/providers.md 1.4)."""
    found = usd("gemini-2.5-pro", prompt_tokens=200_001, tool_prompt_tokens=1, completion_tokens=1500)
    assert found == Decimal("0.26500125")


@pytest.mark.parametrize(
    ("name", "tier", "expected"),
    [
        ("gpt-5", "", "0.01125"),
        ("gpt-5", "default", "0.01125"),
        ("gpt-5", "priority", "0.0225"),
        ("gpt-5", "flex", "0.005625"),
        ("gpt-5-mini", "priority", "0.00405"),
        ("o4-mini", "flex", "0.00275"),
        ("gpt-4.1", "priority", "0.0175"),
        ("gemini-2.5-flash", "standard", "0.0028"),
        ("gemini-2.5-flash", "flex", "0.0014"),
        ("gemini-2.5-flash", "priority", "0.00504"),
        ("claude-opus-4-8", "standard", "0.03"),
        ("claude-opus-4-8", "fast", "0.06"),
        ("claude-opus-4-8", "priority", "0.03"),
    ],
)
def test_the_answered_tier_is_charged(name: str, tier: str, expected: str) -> None:
    assert usd(name, prompt_tokens=1000, completion_tokens=1000, tier=tier) == Decimal(expected)


def test_a_tier_factor_applies_to_long_context_rates() -> None:
    usage = {"prompt_tokens": 300_000, "completion_tokens": 1000}
    assert usd("gemini-3.1-pro-preview", tier="priority", **usage) == Decimal("1.218") * Decimal("1.8")


def test_us_inference() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000}
    assert usd("claude-sonnet-4-6", region="us", **usage) == Decimal("0.0198")
    assert usd("claude-sonnet-4-6", region="global", **usage) == Decimal("0.018")
    assert usd("claude-sonnet-4-5", region="us", **usage) == Decimal("0.018")
    assert usd("claude-sonnet-4-6", region="us", web_searches=3) == Decimal("0.03")


def test_searches_are_charged_by_query_or_by_prompt() -> None:
    assert usd("claude-haiku-4-5", web_searches=2) == Decimal("0.02")
    assert usd("gemini-3.5-flash", web_searches=2) == Decimal("0.028")
    assert [usd("gemini-2.5-flash", web_searches=count) for count in (0, 1, 5)] == [
        0,
        Decimal("0.035"),
        Decimal("0.035"),
    ]
    assert usd("gpt-5", web_searches=2) == 0


@pytest.mark.parametrize(
    ("name", "price"), [("grok-2-image", "0.07"), ("grok-imagine-image", "0.02"), ("seedream-4.0", "0.03")]
)
def test_pictures_are_charged_by_delivered_picture_only(name: str, price: str) -> None:
    assert usd(name, images=3, prompt_tokens=500, completion_tokens=16_384) == 3 * Decimal(price)
    assert usd(name) == 0


def test_an_announced_price_starts_on_its_day() -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=1000)
    priced = model("gemini-3.8-flash")
    assert cost(priced, usage, date(2026, 12, 31)) == Decimal("0.0045")
    assert cost(priced, usage, date(2027, 1, 1)) == Decimal("0.009")
    assert cost(priced, msgspec.structs.replace(usage, tier="flex"), date(2027, 1, 1)) == Decimal("0.0045")


def test_details_beyond_the_prompt_are_not_charged_twice() -> None:
    assert usd("gpt-5", prompt_tokens=10, cached_tokens=1_000_000) == usd("gpt-5", prompt_tokens=10, cached_tokens=10)
    assert usd("gemini-3.1-flash-image", completion_tokens=5, image_tokens=9) == Decimal("0.0003")


def test_the_callers_decimal_context_does_not_matter() -> None:
    usage = {"prompt_tokens": 123_456_789, "completion_tokens": 987_654_321}
    exact = usd("gpt-5", tier="priority", **usage)
    with localcontext() as context:
        context.prec = 3
        assert usd("gpt-5", tier="priority", **usage) == exact
    assert exact == Decimal("20061.7283925")


# -------------------------------------------------------------------------------------------------------------- atoms


@pytest.mark.parametrize(
    ("cost_usd", "usd_per_token", "decimals", "expected"),
    [
        ("0.0007651", "1", 6, 766),
        ("0.000765", "1", 6, 765),
        ("0", "1", 6, 0),
        ("0.0000001", "1", 6, 1),
        ("0.0007651", "0.0931", 18, 8_218_045_112_781_955),
        ("1", "3", 0, 1),
        ("1", "3", 2, 34),
        ("1.00", "0.25", 18, 4 * 10**18),
        ("0.0024048", "1.2E-7", 6, 20_040_000_000),
    ],
)
def test_atomic_amounts(cost_usd: str, usd_per_token: str, decimals: int, expected: int) -> None:
    assert atomic(Decimal(cost_usd), Decimal(usd_per_token), decimals) == expected


@pytest.mark.parametrize(("cost_usd", "rate"), [("-0.1", "1"), ("1", "0"), ("1", "-1")])
def test_no_amount_for_nonsense(cost_usd: str, rate: str) -> None:
    with pytest.raises(ValueError, match="no amount for"):
        atomic(Decimal(cost_usd), Decimal(rate), 6)


# --------------------------------------------------------------------------------------------------------------- laws


def raised(usage: Usage, **more: int) -> Usage:
    return msgspec.structs.replace(usage, **{name: getattr(usage, name) + count for name, count in more.items()})


@given(models, usages(), days, st.integers(1, 1000))
def test_more_is_never_cheaper(priced: Model, usage: Usage, on: date, more: int) -> None:
    for field in ("prompt_tokens", "completion_tokens", "images", "web_searches"):
        assert cost(priced, raised(usage, **{field: more}), on) >= cost(priced, usage, on)


@given(models, usages(), days, st.integers(1, 1000))
def test_being_cached_is_never_dearer(priced: Model, usage: Usage, on: date, count: int) -> None:
    fresh = raised(usage, prompt_tokens=count)
    assert cost(priced, raised(fresh, cached_tokens=count), on) <= cost(priced, fresh, on)


@given(models, usages(), usages(), days)
def test_costs_add_up_below_long_context(priced: Model, one: Usage, other: Usage, on: date) -> None:
    other = msgspec.structs.replace(other, tier=one.tier, region=one.region, web_searches=0)
    long = priced.prices.long_context
    if long is None or not (
        min(one.prompt_tokens, other.prompt_tokens) <= long.over_tokens < one.prompt_tokens + other.prompt_tokens
    ):
        assert cost(priced, one + other, on) == cost(priced, one, on) + cost(priced, other, on)


@given(
    st.decimals(0, 1000, places=12),
    st.decimals(Decimal("0.000001"), 1000, places=9),
    st.integers(0, 18),
)
def test_one_rounding_upwards(cost_usd: Decimal, rate: Decimal, decimals: int) -> None:
    exact = Fraction(cost_usd) / Fraction(rate) * 10**decimals
    assert 0 <= atomic(cost_usd, rate, decimals) - exact < 1
