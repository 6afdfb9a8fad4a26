"""Models and usages whose prices tests compare."""

from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from gateway.billing.pricing import cost
from gateway.catalog import Model, bundled
from gateway.openai_api.usage import Usage

TODAY = date(2026, 11, 22)


def model(name: str) -> Model:
    return bundled().models[name]


def usd(name: str, **usage: Any) -> Decimal:
    return cost(model(name), Usage(**usage), TODAY)


models = st.sampled_from(sorted(bundled().models)).map(model)
tokens = st.integers(0, 400_000)
days = st.dates(date(2026, 1, 1), date(2028, 1, 1))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage whose details fit into its totals."""
    cached_audio, cached_text, audio, write, write_1h, plain = (draw(tokens) for _ in range(6))
    pictures, text = draw(tokens), draw(tokens)
    return Usage(
        prompt_tokens=cached_audio + cached_text + audio + write + write_1h + plain,
        cached_tokens=cached_audio + cached_text,
        cached_audio_tokens=cached_audio,
        audio_tokens=cached_audio + audio,
        cache_write_tokens=write,
        cache_write_1h_tokens=write_1h,
        completion_tokens=pictures + text,
        image_tokens=pictures,
        images=draw(st.integers(0, 10)),
        web_searches=draw(st.integers(0, 10)),
        tier=draw(st.sampled_from(["", "default", "flex", "priority", "fast"])),
        region=draw(st.sampled_from(["", "us", "global"])),
    )
