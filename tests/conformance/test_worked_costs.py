"""The worked examples of facts/providers.md 12.5: from the vendor's usage over sockets to the logged cost."""

from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.conformance.harness import Harness
from tests.conformance.recorded import load
from tools.simulators import Scenario
from tools.simulators.transcripts import replay

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Figure:
    """``usage`` is prompt, cached, completion and reasoning as the caller sees them; ``usd`` is their cost."""

    model: str
    answer: Scenario | str
    usage: tuple[int, int, int, int]
    usd: str

    def __str__(self) -> str:
        return f"{self.model} {self.usd} {'recorded' if self.recorded else 'played'}"

    @property
    def recorded(self) -> bool:
        return isinstance(self.answer, str)


FIGURES = (
    Figure(
        "claude-haiku-4-5",
        Scenario(text="Yes.", prompt_tokens=7361, cached_tokens=7351, completion_tokens=4, reasoning_tokens=0),
        (7361, 7351, 4, 0),
        "0.0007651",
    ),
    Figure(
        "claude-sonnet-4-5",
        Scenario(
            text="Yes.",
            prompt_tokens=1532,
            cached_tokens=1111,
            cache_write_tokens=418,
            completion_tokens=33,
            reasoning_tokens=0,
        ),
        (1532, 1111, 33, 0),
        "0.0024048",
    ),
    Figure("gemini-2.5-flash", "google/pai-google-model-cached-content-1.json", (3520, 3512, 44, 42), "0.00021776"),
    Figure(
        "gemini-2.5-flash",
        "google/rbl-chat-audio-models-gemini-gemini-2-5-flash-can-understand-mp3-audio.json",
        (145, 0, 34, 24),
        "0.0002258",
    ),
    Figure(
        "gemini-3.1-flash-image",
        "google/rbl-image-basic-functionality-gemini-gemini-3-1-flash-lite-image-can-paint-images.json",
        (5, 0, 1518, 0),
        "0.0683965",
    ),
    Figure(
        "gemini-3.1-flash-image",
        Scenario(text="Here.", prompt_tokens=5, completion_tokens=398, reasoning_tokens=0),
        (5, 0, 1518, 0),
        "0.0683965",
    ),
    Figure(
        "grok-3-mini",
        Scenario(text="Yes.", prompt_tokens=15, cached_tokens=2, completion_tokens=10, reasoning_tokens=213),
        (15, 2, 223, 213),
        "0.00011555",
    ),
    Figure(
        "gpt-5",
        Scenario(text="Yes.", prompt_tokens=12, completion_tokens=288, reasoning_tokens=1600),
        (12, 0, 1888, 1600),
        "0.018895",
    ),
)


# The recordings are of answers in one piece.
FORMS = [(figure, stream) for figure in FIGURES for stream in (False, True) if not (stream and figure.recorded)]


@pytest.mark.parametrize(("figure", "stream"), FORMS, ids=str)
async def test_cost_to_the_last_digit(harness: Harness, figure: Figure, stream: bool) -> None:
    answer = replay(load(figure.answer)) if isinstance(figure.answer, str) else figure.answer
    harness.simulator(figure.model).enqueue(answer)
    request = {"model": figure.model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    exchange = await harness.ask(request)
    usage = exchange.answer["usage"]
    assert figure.usage == (
        usage["prompt_tokens"],
        usage["prompt_tokens_details"]["cached_tokens"],
        usage["completion_tokens"],
        usage["completion_tokens_details"]["reasoning_tokens"],
    )
    assert Decimal((await harness.record(exchange)).cost_usd or 0) == Decimal(figure.usd)
