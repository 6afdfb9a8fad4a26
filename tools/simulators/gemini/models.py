"""Models of the Developer API: facts/providers.md 0, 5.5, 5.10, 10.3."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    name: str
    generation: int
    """2 for 2.5, 3 for 3.x; decides signatures, JSON beside tools, call ids."""
    context: int = 1_048_576
    max_output: int = 65_536
    retired: str = ""
    """Message of the 404; empty while the model is served."""
    budgets: tuple[int, int] | None = None
    """Allowed thinkingBudget besides -1 and 0; None: no thinkingConfig with a budget."""
    can_stop_thinking: bool = True
    levels: frozenset[str] = frozenset()
    reasoning_enabled: bool = True
    """Thinks by default."""
    pictures: bool = False
    ratios: frozenset[str] = frozenset()
    picture_tokens: Mapping[str, int] | None = None
    """Tokens of an image by imageSize; the empty size is the default."""


FOUR_LEVELS = frozenset({"minimal", "low", "medium", "high"})
THREE_LEVELS = frozenset({"low", "medium", "high"})
ANY_BUDGET = (0, 32_768)

RATIOS = frozenset({"1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"})


def _gone(name: str, successor: str) -> str:
    return f"This model models/{name} is no longer available. Please use {successor} instead."


_MODELS = (
    Model(name="gemini-2.5-flash", generation=2, budgets=(0, 24_576)),
    Model(name="gemini-2.5-flash-lite", generation=2, budgets=(512, 24_576), reasoning_enabled=False),
    Model(name="gemini-2.5-pro", generation=2, budgets=(128, 32_768), can_stop_thinking=False),
    Model(name="gemini-3-flash-preview", generation=3, budgets=ANY_BUDGET, levels=FOUR_LEVELS),
    Model(
        name="gemini-3-pro-preview",
        generation=3,
        retired=_gone("gemini-3-pro-preview", "gemini-3.1-pro-preview"),
        budgets=ANY_BUDGET,
        can_stop_thinking=False,
        levels=frozenset({"low", "high"}),
    ),
    Model(
        name="gemini-3.1-pro-preview",
        generation=3,
        budgets=ANY_BUDGET,
        can_stop_thinking=False,
        levels=THREE_LEVELS,
    ),
    Model(
        name="gemini-3.1-flash-lite-preview",
        generation=3,
        retired=_gone("gemini-3.1-flash-lite-preview", "gemini-3.1-flash-lite"),
        budgets=ANY_BUDGET,
        levels=FOUR_LEVELS,
    ),
    Model(name="gemini-3.1-flash-lite", generation=3, budgets=ANY_BUDGET, levels=FOUR_LEVELS),
    Model(name="gemini-3.5-flash", generation=3, budgets=ANY_BUDGET, levels=FOUR_LEVELS),
    Model(name="gemini-3.5-flash-lite", generation=3, budgets=ANY_BUDGET, levels=FOUR_LEVELS),
    Model(name="gemini-3.8-flash", generation=3, budgets=ANY_BUDGET, levels=THREE_LEVELS),
    Model(
        name="gemini-2.5-flash-image",
        generation=2,
        context=65_536,
        max_output=32_768,
        reasoning_enabled=False,
        pictures=True,
        ratios=RATIOS,
        picture_tokens={"": 1290},
    ),
    Model(
        name="gemini-3.1-flash-image",
        generation=3,
        context=131_072,
        max_output=32_768,
        reasoning_enabled=False,
        levels=frozenset({"minimal", "high"}),
        pictures=True,
        ratios=RATIOS | {"1:4", "4:1", "1:8", "8:1"},
        picture_tokens={"": 1120, "512": 747, "1K": 1120, "2K": 1680, "4K": 2520},
    ),
)

MODELS: Mapping[str, Model] = {model.name: model for model in _MODELS}
