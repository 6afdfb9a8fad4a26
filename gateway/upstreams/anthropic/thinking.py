"""Extended thinking: how it is switched on, and when it must stay off (facts/providers.md 3.8)."""

from typing import Any

import msgspec

from gateway.catalog import Traits
from gateway.openai_api.errors import unsupported_parameter, unsupported_value
from gateway.upstreams.adapter import Chat

MIN_BUDGET = 1024

# reasoning_effort as a budget of thinking tokens, for models that take no effort.
_BUDGETS = {
    "none": MIN_BUDGET,
    "minimal": MIN_BUDGET,
    "low": MIN_BUDGET,
    "medium": 2048,
    "high": 4096,
    "xhigh": 8192,
    "max": 16384,
}
# What stands in for an effort that the model does not have, best first.
_NEAREST = {"none": ("low",), "minimal": ("low",), "xhigh": ("max", "high"), "max": ("high",)}
_MODES = ("enabled", "adaptive", "disabled")


class Thinking(msgspec.Struct, frozen=True):
    """``config`` is the body's ``thinking``, ``effort`` goes into ``output_config``.

    ``active`` says that the model may think. ``dropped`` names a wish that this request cannot honour.
    """

    config: dict[str, Any] | None = None
    effort: str | None = None
    active: bool = False
    dropped: tuple[str, ...] = ()


class Circumstances(msgspec.Struct, frozen=True):
    """What in a request stands against thinking.

    ``forced``: tool_choice compels a tool. ``prefilled``: the answer's beginning is given. ``lost``: the thoughts of
    the turn whose tool calls are answered here are gone.
    """

    max_tokens: int
    forced: bool = False
    prefilled: bool = False
    lost: bool = False


def decide(chat: Chat, circumstances: Circumstances) -> Thinking:
    """How the model is to think; raises 400 for a wish that it can never honour."""
    traits = chat.model.traits
    if chat.request.thinking is None and chat.request.reasoning_effort is None:
        return Thinking(active=traits.thinking == "always")
    thinking = _decide(chat, traits, circumstances)
    return msgspec.structs.replace(thinking, dropped=(*thinking.dropped, *_unheeded(chat, thinking)))


def _decide(chat: Chat, traits: Traits, circumstances: Circumstances) -> Thinking:
    name, wanted = _wish(chat)
    if traits.thinking == "none":
        if wanted:
            raise unsupported_parameter(name, chat.request.model)
        return Thinking()
    effort = _effort(chat, traits)
    if traits.thinking == "always":
        return Thinking(_adaptive(chat) if wanted else None, effort, active=True)
    if not wanted:
        return Thinking()
    if traits.thinking == "adaptive":
        if circumstances.lost:
            return Thinking(effort=effort, dropped=(name,))
        return Thinking(_adaptive(chat), effort, active=True)
    if circumstances.lost or circumstances.forced or circumstances.prefilled or circumstances.max_tokens <= MIN_BUDGET:
        return Thinking(effort=effort, dropped=(name,))
    config = {"type": "enabled", "budget_tokens": min(_budget(chat), circumstances.max_tokens - 1)}
    return Thinking(config, effort, active=True)


def _unheeded(chat: Chat, thinking: Thinking) -> list[str]:
    """What was said beside the ``thinking`` that is done: a budget where the model sets its own, an effort where the
    caller's own ``thinking`` says it all."""
    asked = chat.request.thinking
    if asked is None:
        return []
    unheeded = []
    budgeted = asked.get("budget_tokens") is not None
    if budgeted and "budget_tokens" not in (thinking.config or {}) and not thinking.dropped:
        unheeded.append("thinking.budget_tokens")
    if chat.request.reasoning_effort is not None and thinking.effort is None and (budgeted or thinking.config is None):
        unheeded.append("reasoning_effort")
    return unheeded


def _wish(chat: Chat) -> tuple[str, bool]:
    """The parameter that speaks of thinking, and whether it wants any. Anthropic's own ``thinking`` comes first."""
    request = chat.request
    if request.thinking is not None:
        mode = request.thinking.get("type")
        if mode not in _MODES or (mode == "disabled" and not chat.model.traits.thinking_off):
            raise unsupported_value(f"Unsupported value: '{mode}' with this model.", "thinking.type")
        return "thinking", mode != "disabled"
    return "reasoning_effort", request.reasoning_effort not in (None, "none")


def _effort(chat: Chat, traits: Traits) -> str | None:
    """The word for ``output_config.effort``, or None where nothing was asked or the model knows no effort."""
    word = chat.request.reasoning_effort
    if word is None:
        return None
    if word not in _BUDGETS:
        known = ", ".join(f"'{effort}'" for effort in _BUDGETS)
        raise unsupported_value(f"Unsupported value: '{word}'. Supported values: {known}.", "reasoning_effort")
    return next((effort for effort in (word, *_NEAREST.get(word, ())) if effort in traits.efforts), None)


def _adaptive(chat: Chat) -> dict[str, Any]:
    display = (chat.request.thinking or {}).get("display")
    if display in ("summarized", "omitted"):
        return {"type": "adaptive", "display": display}
    return {"type": "adaptive", "display": "summarized"} if chat.model.traits.thinking_hidden else {"type": "adaptive"}


def _budget(chat: Chat) -> int:
    asked = (chat.request.thinking or {}).get("budget_tokens")
    if asked is None:
        return _BUDGETS[chat.request.reasoning_effort or "medium"]
    if not isinstance(asked, int) or asked < MIN_BUDGET:
        raise unsupported_value(f"'thinking.budget_tokens' must be at least {MIN_BUDGET}.", "thinking.budget_tokens")
    return asked
