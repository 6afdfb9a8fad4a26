"""OpenAI's parameters that Anthropic has under another name, refuses, or does not know (facts/providers.md 1.8, 3.7,
3.10).

What would change the meaning of the request when left out is refused; hints are dropped and listed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.openai_api.errors import unsupported_parameter, unsupported_value
from gateway.openai_api.request import ChatRequest
from gateway.upstreams.adapter import Chat

# A value that the parameter may have because it says nothing.
_REFUSED: Mapping[str, Callable[[Any], bool]] = {
    "n": lambda n: n == 1,
    "logprobs": lambda wanted: wanted is False,
    "top_logprobs": lambda count: count == 0,
    "logit_bias": lambda biases: biases == {},
    "audio": lambda options: False,
    "modalities": lambda modalities: modalities == ["text"],
    "functions": lambda functions: functions == [],
    "function_call": lambda choice: choice == "none",
}
_HINTS = (
    "frequency_penalty",
    "image_config",
    "metadata",
    "moderation",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "repetition_penalty",
    "safety_settings",
    "seed",
    "store",
    "verbosity",
)
_NEUTRAL = {"frequency_penalty": 0, "presence_penalty": 0, "repetition_penalty": 1, "store": False}
_SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_PERSONAL = re.compile(r"@|^\+?[\d\s().-]{7,}$")
_USER_ID_LIMIT = 256


def check(chat: Chat) -> None:
    """Raises 400 for the first parameter that Anthropic cannot honour."""
    for name, says_nothing in _REFUSED.items():
        value = getattr(chat.request, name)
        if value is not None and not says_nothing(value):
            raise unsupported_parameter(name, chat.request.model)


def dropped_hints(request: ChatRequest) -> list[str]:
    """The hints that the caller gave and Anthropic has no place for."""
    return [name for name in _HINTS if getattr(request, name) not in (None, _NEUTRAL.get(name))]


def sampling(chat: Chat, *, thinking: bool) -> tuple[dict[str, Any], list[str]]:
    """temperature, top_p and top_k as the model takes them, and which of them were dropped.

    Anthropic's temperature ends at 1, so a higher one is sent as 1 and listed too. A model that thinks takes neither
    temperature nor top_k, and a top_p from 0.95 on.
    """
    request, rule = chat.request, chat.model.traits.sampling
    asked = {name: value for name in ("temperature", "top_p", "top_k") if (value := getattr(request, name)) is not None}
    if rule == "refused":
        kept = {}
    elif thinking:
        kept = {"top_p": asked["top_p"]} if asked.get("top_p", 0) >= 0.95 else {}
    elif rule == "single" and "temperature" in asked:
        kept = {name: value for name, value in asked.items() if name != "top_p"}
    else:
        kept = dict(asked)
    dropped = [name for name, value in asked.items() if name not in kept and value != 1]
    if kept.get("temperature", 0) > 1:
        kept["temperature"] = 1
        dropped.append("temperature")
    return kept, dropped


def stop_sequences(request: ChatRequest) -> tuple[list[str], list[str]]:
    """The stop sequences that Anthropic takes; those of blanks alone it refuses."""
    kept = [stop for stop in request.stops if stop.strip()]
    return kept, ["stop"] if len(kept) < len(request.stops) else []


def user_id(request: ChatRequest) -> tuple[str | None, list[str]]:
    """Who the end user is, unless the name is too long or looks like an e-mail address or a telephone number."""
    name = "safety_identifier" if request.safety_identifier else "user"
    value = getattr(request, name)
    if not value:
        return None, []
    if len(value) > _USER_ID_LIMIT or _PERSONAL.search(value):
        return None, [name]
    return value, []


def service_tier(request: ChatRequest) -> tuple[str | None, list[str]]:
    """Anthropic knows to use priority capacity if there is some, or not to."""
    tier = request.service_tier
    if tier is None:
        return None, []
    known = _SERVICE_TIERS.get(tier)
    if known is None and tier not in ("flex", "priority", "scale"):
        raise unsupported_value(f"Unsupported value: '{tier[:64]}'.", "service_tier")
    return known or "auto", [] if known else ["service_tier"]
