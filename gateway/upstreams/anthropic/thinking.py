"""Extended thinking: how it is enabled, and when it has to stay off (facts/providers.md 3.8)."""

from typing import Any

import msgspec

from gateway.catalog import Traits
from gateway.openai_api.errors import unsupported_parameter, unsupported_value
from gateway.upstreams.adapter import Chat

_MIN_BUDGET = 1024

_BUDGETS = {
    "none": _MIN_BUDGET,
    "minimal": _MIN_BUDGET,
    "low": _MIN_BUDGET,
    "medium": 2048,
    "high": 4096,
    "xhigh": 8192,
    "max": 16384,
}
"""reasoning_effort as a budget of thinking tokens, for models that take no effort."""
_FALLBACKS = {"none": ("low",), "minimal": ("low",), "xhigh": ("max", "high"), "max": ("high",)}
"""Substitutes for an effort that the model does not have, best first."""
_MODES = ("enabled", "adaptive", "disabled")


class Thinking(msgspec.Struct, frozen=True):
    """``config`` is the body's ``thinking``, ``effort`` goes into ``output_config``.

    ``active``: the model may think. ``dropped``: parameters that this request cannot honour.
    """

    config: dict[str, Any] | None = None
    effort: str | None = None
    active: bool = False
    dropped: tuple[str, ...] = ()


class Constraints(msgspec.Struct, frozen=True):
    """What in a request rules thinking out.

    ``forced``: tool_choice forces a tool. ``prefilled``: the last message is the assistant's. ``lost``: the thinking
    blocks of the turn whose tool calls are being answered are missing.
    """

    max_tokens: int
    forced: bool = False
    prefilled: bool = False
    lost: bool = False


def resolve(chat: Chat, constraints: Constraints) -> Thinking:
    """The thinking parameters of ``chat``. Raises 400 for those that the model never supports."""
    traits = chat.model.traits
    if chat.request.thinking is None and chat.request.reasoning_effort is None:
        return Thinking(active=traits.thinking == "always")
    thinking = _resolve(chat, traits, constraints)
    return msgspec.structs.replace(thinking, dropped=(*thinking.dropped, *_ignored(chat, thinking)))


def _resolve(chat: Chat, traits: Traits, constraints: Constraints) -> Thinking:
    name, wanted = _requested(chat)
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
        if constraints.lost:
            return Thinking(effort=effort, dropped=(name,))
        return Thinking(_adaptive(chat), effort, active=True)
    if constraints.lost or constraints.forced or constraints.prefilled or constraints.max_tokens <= _MIN_BUDGET:
        return Thinking(effort=effort, dropped=(name,))
    budget = min(_budget(chat), constraints.max_tokens - 1)
    return Thinking({"type": "enabled", "budget_tokens": budget} | _display(chat), effort, active=True)


def _ignored(chat: Chat, thinking: Thinking) -> list[str]:
    """Parameters without effect: a budget where the model sets its own, an effort beside a complete ``thinking``."""
    requested = chat.request.thinking
    if requested is None:
        return []
    ignored = []
    budgeted = requested.get("budget_tokens") is not None
    if budgeted and "budget_tokens" not in (thinking.config or {}) and not thinking.dropped:
        ignored.append("thinking.budget_tokens")
    if chat.request.reasoning_effort is not None and thinking.effort is None and (budgeted or thinking.config is None):
        ignored.append("reasoning_effort")
    return ignored


def _requested(chat: Chat) -> tuple[str, bool]:
    """The parameter that controls thinking, and whether it enables it. ``thinking`` overrides reasoning_effort."""
    request = chat.request
    if request.thinking is not None:
        mode = request.thinking.get("type")
        if mode not in _MODES or (mode == "disabled" and not chat.model.traits.thinking_off):
            raise unsupported_value(f"Unsupported value: '{mode}' with this model.", "thinking.type")
        return "thinking", mode != "disabled"
    return "reasoning_effort", request.reasoning_effort not in (None, "none")


def _effort(chat: Chat, traits: Traits) -> str | None:
    """The value of ``output_config.effort``, or None if none was requested or the model takes none."""
    effort = chat.request.reasoning_effort
    if effort is None:
        return None
    if effort not in _BUDGETS:
        known = ", ".join(f"'{name}'" for name in _BUDGETS)
        raise unsupported_value(f"Unsupported value: '{effort}'. Supported values: {known}.", "reasoning_effort")
    return next((name for name in (effort, *_FALLBACKS.get(effort, ())) if name in traits.efforts), None)


def _adaptive(chat: Chat) -> dict[str, Any]:
    return {"type": "adaptive"} | _display(chat)


def _display(chat: Chat) -> dict[str, str]:
    """Whether the thoughts are shown, for models that hide them unless asked. Raises 400 for an unknown value."""
    display = (chat.request.thinking or {}).get("display")
    if display is None:
        return {"display": "summarized"} if chat.model.traits.thinking_hidden else {}
    if display not in ("summarized", "omitted"):
        raise unsupported_value("Supported values: 'summarized', 'omitted'.", "thinking.display")
    return {"display": display}


def _budget(chat: Chat) -> int:
    budget = (chat.request.thinking or {}).get("budget_tokens")
    if budget is None:
        return _BUDGETS[chat.request.reasoning_effort or "medium"]
    if not isinstance(budget, int) or budget < _MIN_BUDGET:
        raise unsupported_value(f"'thinking.budget_tokens' must be at least {_MIN_BUDGET}.", "thinking.budget_tokens")
    return budget
