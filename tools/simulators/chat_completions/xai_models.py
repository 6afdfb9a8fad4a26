"""xAI's models: facts/providers.md 0, 6.1 to 6.3, 10.4."""

from collections.abc import Mapping
from dataclasses import dataclass

from tools.simulators.chat_completions.rendering import Style
from tools.simulators.chat_completions.vendor import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class XAIModel(Model):
    """Prices are ticks of 1e-10 USD per token: input, cached input, output."""

    ticks: tuple[int, int, int]
    sees: bool = True
    doubles_at: int | None = None
    """Prompt size from which the whole request costs twice as much."""


PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})
LOGPROBS = frozenset({"logprobs", "top_logprobs"})
REASONING = PENALTIES | LOGPROBS | {"stop"}
EFFORT = frozenset({"reasoning_effort"})
RETIRED = "retired 2026-05-15"

FIELDS = (("system_fingerprint", "fp_b9ff9b81b3"),)
HIDDEN = Style(role_alone=False, fragments=False, null_finish_reason=False, null_content=False, fields=FIELDS)
SHOWN = Style(
    role_alone=False,
    fragments=False,
    null_finish_reason=False,
    null_content=False,
    reasoning="reasoning_content",
    fields=(("system_fingerprint", "fp_eb3c003fc66c14ed"), ("service_tier", "default")),
)


def _fast(name: str, *, reasoning_enabled: bool) -> XAIModel:
    return XAIModel(
        name=name,
        context=2_000_000,
        retired=RETIRED,
        reasoning_enabled=reasoning_enabled,
        refuses=EFFORT | {"stop"} | PENALTIES | (LOGPROBS if reasoning_enabled else frozenset()),
        ticks=(2_000, 500, 5_000),
        style=HIDDEN,
        doubles_at=128_000,
    )


GROK_4 = XAIModel(
    name="grok-4-0709",
    context=256_000,
    retired=RETIRED,
    reasoning_enabled=True,
    refuses=REASONING | EFFORT,
    ticks=(30_000, 7_500, 150_000),
    style=HIDDEN,
)
GROK_3 = XAIModel(
    name="grok-3",
    context=131_072,
    retired=RETIRED,
    refuses=EFFORT,
    ticks=(30_000, 7_500, 150_000),
    sees=False,
    style=HIDDEN,
)
GROK_2 = XAIModel(
    name="grok-2-1212",
    context=131_072,
    retired="shut down 2026-02-24",
    refuses=EFFORT,
    ticks=(20_000, 20_000, 100_000),
    sees=False,
    style=HIDDEN,
)

MODELS: Mapping[str, Model] = {
    "grok-4.3": XAIModel(
        name="grok-4.3",
        context=1_000_000,
        reasoning_enabled=True,
        efforts=frozenset({"none", "low", "medium", "high"}),
        refuses=PENALTIES | LOGPROBS | {"stop"},
        ticks=(12_500, 2_000, 25_000),
        style=SHOWN,
        doubles_at=200_000,
    ),
    "grok-4": GROK_4,
    "grok-4-0709": GROK_4,
    "grok-4-fast": _fast("grok-4-fast-reasoning", reasoning_enabled=True),
    "grok-4-fast-reasoning": _fast("grok-4-fast-reasoning", reasoning_enabled=True),
    "grok-4-fast-non-reasoning": _fast("grok-4-fast-non-reasoning", reasoning_enabled=False),
    "grok-4-1-fast": _fast("grok-4-1-fast-reasoning", reasoning_enabled=True),
    "grok-4-1-fast-reasoning": _fast("grok-4-1-fast-reasoning", reasoning_enabled=True),
    "grok-4-1-fast-non-reasoning": _fast("grok-4-1-fast-non-reasoning", reasoning_enabled=False),
    "grok-3": GROK_3,
    "grok-3-latest": GROK_3,
    "grok-3-mini": XAIModel(
        name="grok-3-mini",
        context=131_072,
        retired=RETIRED,
        reasoning_enabled=True,
        efforts=frozenset({"low", "high"}),
        refuses=PENALTIES | {"stop"},
        ticks=(3_000, 750, 5_000),
        sees=False,
        style=SHOWN,
    ),
    "grok-2": GROK_2,
    "grok-2-1212": GROK_2,
    "grok-2-latest": GROK_2,
}
