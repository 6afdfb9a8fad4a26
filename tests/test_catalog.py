"""Prices, limits, ids and dates of the bundled catalogue against facts/providers.md, transcribed here by hand."""

from datetime import date
from decimal import Decimal

import pytest

from gateway.catalog import AnnouncedRates, Catalog, LongContext, Rates

TODAY = date(2026, 11, 22)  # of the facts


MISSION = """
    gpt-4.1 gpt-5 gpt-5-mini gpt-5.2 o4-mini
    claude-sonnet-4-0 claude-sonnet-4-5 claude-sonnet-4-6 claude-haiku-4-5 claude-opus-4-5 claude-opus-4-6
    claude-opus-4-7 claude-opus-4-8 claude-fable-5 claude-3-7-sonnet claude-3-5-haiku
    gemini-2.5-flash gemini-2.5-flash-lite gemini-2.5-pro gemini-3-pro-preview gemini-3-flash-preview
    gemini-3.1-pro-preview gemini-3.1-flash-lite-preview gemini-3.5-flash gemini-2.5-flash-image gemini-3.1-flash-image
    grok-2 grok-3 grok-3-mini grok-4 grok-4-fast grok-4-1-fast grok-2-image
    seed-1.6 seed-1.8 seed-2.0-lite seedream-4.0 hermes-4-405b hermes-4-70b
"""

# Section 10: input, cached input, output, context, output limit.
FIGURES = """
    gpt-4.1                       2.00  0.50   8.00   1047576  32768
    gpt-5                         1.25  0.125  10.00  400000   128000
    gpt-5-mini                    0.25  0.025  2.00   400000   128000
    gpt-5.2                       1.75  0.175  14.00  400000   128000
    o4-mini                       1.10  0.275  4.40   200000   100000
    claude-fable-5                10    1.0    50     1000000  128000
    claude-opus-4-8               5     0.5    25     1000000  128000
    claude-opus-4-7               5     0.5    25     1000000  128000
    claude-opus-4-6               5     0.5    25     1000000  128000
    claude-opus-4-5               5     0.5    25     200000   64000
    claude-sonnet-4-6             3     0.3    15     1000000  128000
    claude-sonnet-4-5             3     0.3    15     200000   64000
    claude-sonnet-4-0             3     0.3    15     200000   64000
    claude-haiku-4-5              1     0.1    5      200000   64000
    claude-3-7-sonnet             3     0.3    15     200000   64000
    claude-3-5-haiku              0.8   0.08   4      200000   8192
    gemini-2.5-flash              0.30  0.03   2.50   1048576  65536
    gemini-2.5-flash-lite         0.10  0.01   0.40   1048576  65536
    gemini-2.5-pro                1.25  0.125  10     1048576  65536
    gemini-3-flash-preview        0.50  0.05   3.00   1048576  65536
    gemini-3-pro-preview          2.00  0.20   12     1048576  65536
    gemini-3.1-pro-preview        2.00  0.20   12     1048576  65536
    gemini-3.1-flash-lite         0.25  0.025  1.50   1048576  65536
    gemini-3.1-flash-lite-preview 0.25  0.025  1.50   1048576  65536
    gemini-3.5-flash              1.50  0.15   9.00   1048576  65536
    gemini-3.5-flash-lite         0.30  0.03   2.50   1048576  65536
    gemini-3.8-flash              0.75  0.075  3.75   1048576  65536
    gemini-2.5-flash-image        0.30  0.03   2.50   65536    32768
    gemini-3.1-flash-image        0.50  0.05   3.00   131072   32768
    grok-2                        2     -      10     32768    -
    grok-3                        3     0.75   15     131072   -
    grok-3-mini                   0.30  0.075  0.50   131072   -
    grok-4                        3     0.75   15     256000   -
    grok-4-fast                   0.20  0.05   0.50   2000000  -
    grok-4-fast-non-reasoning     0.20  0.05   0.50   2000000  -
    grok-4-1-fast                 0.20  0.05   0.50   2000000  -
    grok-4-1-fast-non-reasoning   0.20  0.05   0.50   2000000  -
    grok-4.3                      1.25  0.20   2.50   1000000  -
    seed-1.6                      0.25  0.05   2.00   256000   32000
    seed-1.8                      0.25  0.05   2.00   256000   64000
    seed-2.0-lite                 0.25  0.05   2.00   256000   128000
    seed-2-0-lite-260428          0.25  0.05   2.00   256000   128000
    hermes-4-405b                 1.00  0.20   3.00   131072   -
    hermes-4-70b                  0.13  0.055  0.40   131072   -
"""

# Section 10.2: cache writes for 5 minutes and for 1 hour.
CACHE_WRITES = {
    "claude-fable-5": ("12.5", "20"),
    "claude-opus-4-8": ("6.25", "10"),
    "claude-opus-4-7": ("6.25", "10"),
    "claude-opus-4-6": ("6.25", "10"),
    "claude-opus-4-5": ("6.25", "10"),
    "claude-sonnet-4-6": ("3.75", "6"),
    "claude-sonnet-4-5": ("3.75", "6"),
    "claude-sonnet-4-0": ("3.75", "6"),
    "claude-haiku-4-5": ("1.25", "2"),
    "claude-3-7-sonnet": ("3.75", "6"),
    "claude-3-5-haiku": ("1.0", "1.6"),
}

# Section 10.3: audio and cached audio where they differ from text.
AUDIO = {
    "gemini-2.5-flash": ("1.00", "0.10"),
    "gemini-2.5-flash-lite": ("0.30", "0.03"),
    "gemini-3-flash-preview": ("1.00", "0.10"),
    "gemini-3.1-flash-lite": ("0.50", "0.05"),
    "gemini-3.1-flash-lite-preview": ("0.50", "0.05"),
}

IMAGE_OUTPUT = {"gemini-2.5-flash-image": "30", "gemini-3.1-flash-image": "60"}
PER_IMAGE = {"grok-2-image": "0.07", "grok-imagine-image": "0.02", "seedream-4.0": "0.03"}

# Sections 10.3 to 10.5: longest prompt at standard rates, then input, cached input, output.
LONG_CONTEXT = {
    "gemini-2.5-pro": (200_000, "2.5", "0.25", "15"),
    "gemini-3-pro-preview": (200_000, "4", "0.4", "18"),
    "gemini-3.1-pro-preview": (200_000, "4", "0.4", "18"),
    "grok-4": (128_000, "6", "1.5", "30"),
    "grok-4-fast": (128_000, "0.40", "0.05", "1.00"),
    "grok-4-fast-non-reasoning": (128_000, "0.40", "0.05", "1.00"),
    "grok-4-1-fast": (128_000, "0.40", "0.05", "1.00"),
    "grok-4-1-fast-non-reasoning": (128_000, "0.40", "0.05", "1.00"),
    "grok-4.3": (199_999, "2.50", "0.40", "5.00"),
    "seed-1.6": (128_000, "0.5", "0.05", "4"),
    "seed-1.8": (128_000, "0.5", "0.05", "4"),
    "seed-2.0-lite": (128_000, "0.5", "0.05", "4"),
    "seed-2-0-lite-260428": (128_000, "0.5", "0.05", "4"),
}

# Section 10.1: priority input, cached input, output; the flex factor or its own rates.
OPENAI_TIERS = {
    "gpt-4.1": (("3.5", "0.875", "14"), None),
    "gpt-5": (("2.5", "0.25", "20"), "0.5"),
    "gpt-5-mini": (("0.45", "0.045", "3.6"), "0.5"),
    "gpt-5.2": (("3.5", "0.35", "28"), "0.5"),
    "o4-mini": (("2", "0.5", "8"), ("0.55", "0.138", "2.2")),
}

# Section 0: end, replacement where there is one by the vendor's word.
ENDS = {
    "gpt-4.1": date(2027, 1, 14),
    "gpt-5": date(2026, 12, 11),
    "gpt-5-mini": date(2026, 12, 11),
    "o4-mini": date(2026, 10, 23),
    "claude-3-7-sonnet": date(2026, 2, 19),
    "claude-3-5-haiku": date(2026, 2, 19),
    "claude-sonnet-4-0": date(2026, 6, 15),
    "claude-sonnet-4-5": date(2026, 11, 30),
    "gemini-3-pro-preview": date(2026, 3, 9),
    "gemini-3.1-flash-lite-preview": date(2026, 5, 25),
    "gemini-3.1-flash-lite": date(2027, 5, 7),
    "gemini-2.5-pro": date(2026, 12, 1),
    "gemini-2.5-flash": date(2026, 12, 1),
    "gemini-2.5-flash-image": date(2027, 3, 15),
    "grok-2": date(2026, 2, 24),
    "grok-2-image": date(2026, 2, 24),
    "grok-3": date(2026, 5, 15),
    "grok-3-mini": date(2026, 5, 15),
    "grok-4": date(2026, 5, 15),
    "grok-4-fast": date(2026, 5, 15),
    "grok-4-fast-non-reasoning": date(2026, 5, 15),
    "grok-4-1-fast": date(2026, 5, 15),
    "grok-4-1-fast-non-reasoning": date(2026, 5, 15),
}

REROUTED = {
    "gemini-2.5-pro": "gemini-3.8-flash",
    "gemini-2.5-flash": "gemini-3.5-flash-lite",
    "grok-2": "grok-4.3",
    "grok-3": "grok-4.3",
    "grok-3-mini": "grok-4.3",
    "grok-4": "grok-4.3",
    "grok-4-fast": "grok-4.3",
    "grok-4-fast-non-reasoning": "grok-4.3",
    "grok-4-1-fast": "grok-4.3",
    "grok-4-1-fast-non-reasoning": "grok-4.3",
}

# Sections 0, 2.2, 3.2, 6.1, 8, where they differ from the public name.
UPSTREAM_IDS = {
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5.2": "gpt-5.2-2025-12-11",
    "o4-mini": "o4-mini-2025-04-16",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-sonnet-4-0": "claude-sonnet-4-20250514",
    "claude-3-7-sonnet": "claude-3-7-sonnet-20250219",
    "claude-3-5-haiku": "claude-3-5-haiku-20241022",
    "grok-2": "grok-2-1212",
    "grok-3": "grok-3-latest",
    "grok-4": "grok-4-0709",
    "grok-4-fast": "grok-4-fast-reasoning",
    "grok-4-1-fast": "grok-4-1-fast-reasoning",
    "seed-1.6": "seed-1-6-250915",
    "seed-1.8": "seed-1-8-251228",
    "seed-2.0-lite": "seed-2-0-lite-260228",
    "seedream-4.0": "seedream-4-0-250828",
    "hermes-4-405b": "nousresearch/hermes-4-405b",
    "hermes-4-70b": "nousresearch/hermes-4-70b",
}


def decimal(text: str) -> Decimal | None:
    return None if text == "-" else Decimal(text)


def test_every_model_of_the_mission_is_there(catalog: Catalog) -> None:
    assert set(MISSION.split()) <= set(catalog.models)


def test_every_model_has_a_figure_here(catalog: Catalog) -> None:
    priced = {line.split()[0] for line in FIGURES.strip().splitlines()}
    assert priced | set(PER_IMAGE) == set(catalog.models)


@pytest.mark.parametrize("line", FIGURES.strip().splitlines(), ids=lambda line: line.split()[0])
def test_rates_and_limits(catalog: Catalog, line: str) -> None:
    name, fresh, cached, output, context, limit = line.split()
    model = catalog.models[name]
    writes = [Decimal(price) for price in CACHE_WRITES[name]] if name in CACHE_WRITES else [None, None]
    audio = [Decimal(price) for price in AUDIO[name]] if name in AUDIO else [None, None]
    assert model.prices.rates == Rates(
        input=Decimal(fresh),
        cached_input=decimal(cached),
        output=Decimal(output),
        cache_write_5m=writes[0],
        cache_write_1h=writes[1],
        audio_input=audio[0],
        cached_audio_input=audio[1],
        image_output=Decimal(IMAGE_OUTPUT[name]) if name in IMAGE_OUTPUT else None,
    )
    assert (model.context_length, model.max_output_tokens) == (int(context), None if limit == "-" else int(limit))


def test_pictures_have_flat_prices(catalog: Catalog) -> None:
    flat = {name: model.prices.per_image for name, model in catalog.models.items() if model.prices.per_image}
    assert flat == {name: Decimal(price) for name, price in PER_IMAGE.items()}
    assert {name for name, model in catalog.models.items() if model.endpoint == "images"} == set(PER_IMAGE)


def test_long_context_rates(catalog: Catalog) -> None:
    long = {name: model.prices.long_context for name, model in catalog.models.items() if model.prices.long_context}
    assert long == {
        name: LongContext(over_tokens=over, input=Decimal(fresh), cached_input=Decimal(cached), output=Decimal(output))
        for name, (over, fresh, cached, output) in LONG_CONTEXT.items()
    }


def rates(fresh: str, cached: str, output: str) -> Rates:
    return Rates(input=Decimal(fresh), cached_input=Decimal(cached), output=Decimal(output))


@pytest.mark.parametrize("name", OPENAI_TIERS)
def test_openai_tiers(catalog: Catalog, name: str) -> None:
    priority, flex = OPENAI_TIERS[name]
    expected: dict[str, Rates | Decimal] = {"priority": rates(*priority)}
    if flex is not None:
        expected["flex"] = Decimal(flex) if isinstance(flex, str) else rates(*flex)
    assert catalog.models[name].prices.tiers == expected


def test_other_tiers(catalog: Catalog) -> None:
    tiers = {name: dict(model.prices.tiers) for name, model in catalog.models.items() if model.provider != "openai"}
    google = {name for name, model in catalog.models.items() if model.provider == "google"}
    halves = {name: {"flex": Decimal("0.5"), "priority": Decimal("1.8")} for name in google}
    assert {name: tier for name, tier in tiers.items() if tier} == halves | {"claude-opus-4-8": {"fast": Decimal(2)}}


def test_us_inference_costs_more_from_4_6_on(catalog: Catalog) -> None:
    dearer = {name: model.prices.regions for name, model in catalog.models.items() if model.prices.regions}
    names = ("claude-opus-4-6", "claude-sonnet-4-6", "claude-opus-4-7", "claude-opus-4-8", "claude-fable-5")
    assert dearer == {name: {"us": Decimal("1.1")} for name in names}


def test_search_prices(catalog: Catalog) -> None:
    for name, model in catalog.models.items():
        each, prompt = model.prices.per_web_search, model.prices.per_grounded_prompt
        if model.provider == "anthropic":
            assert (each, prompt) == (Decimal("0.01"), None), name
        elif model.provider == "google" and "image" not in name:
            grounded = (None, Decimal("0.035")) if name.startswith("gemini-2.5") else (Decimal("0.014"), None)
            assert (each, prompt) == grounded, name
        else:
            assert (each, prompt) == (None, None), name


def test_the_announced_price_of_gemini_3_8_flash(catalog: Catalog) -> None:
    announced = {name: model.prices.announced for name, model in catalog.models.items() if model.prices.announced}
    assert announced == {
        "gemini-3.8-flash": AnnouncedRates(
            starts_on=date(2027, 1, 1), input=Decimal("1.5"), cached_input=Decimal("0.15"), output=Decimal("7.5")
        )
    }


def test_every_price_names_its_source(catalog: Catalog) -> None:
    sections = {"openai": "10.1", "anthropic": "10.2", "google": "10.3", "xai": "10.4", "bytedance": "10.5"}
    for model in catalog.models.values():
        assert model.prices.source.startswith(sections.get(model.provider, "10.5") + ": "), model.id


def test_ends_of_life(catalog: Catalog) -> None:
    assert {name: model.retires_on for name, model in catalog.models.items() if model.retires_on} == ENDS


def test_a_model_is_retired_from_its_day_on(catalog: Catalog) -> None:
    model = catalog.models["claude-sonnet-4-5"]
    assert not model.retired(date(2026, 11, 29))
    assert model.retired(date(2026, 11, 30))
    assert not catalog.models["gpt-5.2"].retired(date.max)


def test_every_model_that_ends_names_one_that_works(catalog: Catalog) -> None:
    for name in ENDS:
        replacement = catalog.models[name].replacement
        assert replacement is not None
        assert not catalog.models[replacement].retired(TODAY), name


def test_who_may_answer(catalog: Catalog) -> None:
    rerouted = {name: catalog.may_answer(model) for name, model in catalog.models.items() if model.rerouted}
    assert {name: [model.id for model in models] for name, models in rerouted.items()} == {
        name: [name, other] for name, other in REROUTED.items()
    }
    kept = catalog.models["claude-sonnet-4-5"]
    assert kept.replacement == "claude-sonnet-4-6"
    assert catalog.may_answer(kept) == (kept,)


def test_upstream_ids(catalog: Catalog) -> None:
    for name, model in catalog.models.items():
        assert model.upstream_id == UPSTREAM_IDS.get(name, name)


def test_providers(catalog: Catalog) -> None:
    assert {
        name: (provider.base_url, provider.key_variable, provider.base_url_variable, provider.injected_key)
        for name, provider in catalog.providers.items()
    } == {
        "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY", "OPENAI_BASE_URL", "openai_api_key"),
        "anthropic": ("https://api.anthropic.com", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "anthropic_api_key"),
        "google": (
            "https://generativelanguage.googleapis.com",
            "GOOGLE_API_KEY",
            "GOOGLE_BASE_URL",
            "google_api_key",
        ),
        "xai": ("https://api.x.ai/v1", "XAI_API_KEY", "XAI_BASE_URL", "xai_api_key"),
        "bytedance": (
            "https://ark.ap-southeast.bytepluses.com/api/v3",
            "ARK_API_KEY",
            "ARK_BASE_URL",
            "bytedance_api_key",
        ),
        "nous": ("https://inference-api.nousresearch.com/v1", "NOUS_API_KEY", "NOUS_BASE_URL", "nous_api_key"),
    }
    stops = {name for name, provider in catalog.providers.items() if provider.stops_billing_on_close}
    assert stops == {"openai", "anthropic", "xai"}
