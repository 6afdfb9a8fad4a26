"""``reasoning_effort`` as Gemini's thinkingConfig: a token budget or a level (facts/providers.md 5.5)."""

from typing import Any

from gateway.catalog import Traits
from gateway.catalog_checks import EFFORTS
from gateway.openai_api.errors import unsupported_parameter, unsupported_value
from gateway.upstreams.adapter import Chat

_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
_LEVELS = ("minimal", "low", "medium", "high")


def thinking_config(chat: Chat) -> dict[str, Any] | None:
    """The requested thinkingConfig; None for the model's default. Raises 400."""
    effort, traits = chat.request.reasoning_effort, chat.model.traits
    if effort is None:
        return None
    if effort not in EFFORTS:
        allowed = ", ".join(f"'{word}'" for word in EFFORTS)
        raise unsupported_value(f"Unsupported value: '{effort}'. Supported values: {allowed}.", "reasoning_effort")
    if traits.thinking == "none":
        if effort == "none":
            return None
        raise unsupported_parameter("reasoning_effort", chat.request.model)
    if traits.thinking == "budget":
        budget = _budget(traits, effort)
        return {"thinkingBudget": budget, "includeThoughts": effort != "none"}
    return {"thinkingLevel": _level(traits, effort), "includeThoughts": effort != "none"}


def _budget(traits: Traits, effort: str) -> int:
    lowest, highest = traits.thinking_budget or (1, _BUDGETS["max"])
    if effort == "none":
        return 0 if traits.thinking_off else lowest
    if effort == "minimal" and lowest > 1:
        return lowest
    return min(max(_BUDGETS[effort], lowest), highest)


def _level(traits: Traits, effort: str) -> str:
    """The model's level nearest to ``effort``; the higher one of two equally near."""
    levels = [level for level in _LEVELS if not traits.efforts or level in traits.efforts]
    wanted = {"none": "minimal", "xhigh": "high", "max": "high"}.get(effort, effort)
    rank = _LEVELS.index(wanted)
    return min(reversed(levels), key=lambda level: abs(_LEVELS.index(level) - rank))
