"""OpenAI's parameters that Anthropic has under another name, refuses, or does not know (facts/providers.md 1.8, 3.7,
3.10).

What would change the meaning of the request when left out is refused; hints are dropped and listed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.openai_api.errors import unsupported_parameter, unsupported_value
from gateway.openai_api.request import ChatRequest
from gateway.upstreams import message_hints
from gateway.upstreams.adapter import Chat
from gateway.upstreams.openai.dialects import HINTS

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
_HINTS = (HINTS - {"cache_control", "parallel_tool_calls", "safety_identifier", "service_tier", "top_k", "user"}) | {
    "safety_settings"
}
"""What is a hint everywhere, less what Anthropic has a place for, and one of Gemini's."""
_NEUTRAL = {"frequency_penalty": 0, "presence_penalty": 0, "repetition_penalty": 1, "store": False}
_SAMPLING = ("temperature", "top_p", "top_k")
_SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_PERSONAL = re.compile(r"@|^\+?[\d\s().-]{7,}$")
_USER_ID_LIMIT = 256


def check(chat: Chat) -> None:
    """Raises 400 for the first parameter that Anthropic cannot honour."""
    for name in chat.body:
        if (says_nothing := _REFUSED.get(name)) is not None:
            value = getattr(chat.request, name)
            if value is not None and not says_nothing(value):
                raise unsupported_parameter(name, chat.request.model)


def put(chat: Chat, body: dict[str, Any], *, thinking: bool) -> list[str]:
    """Add to ``body`` what Anthropic takes of the caller's parameters; the names of those that were dropped."""
    request = chat.request
    dropped = [*message_hints.find(chat.body["messages"])]
    if not _HINTS.isdisjoint(chat.body):
        dropped += _hints(chat)
    dropped += _sampling(chat, body, thinking=thinking)
    if request.stop is not None:
        dropped += _stop_sequences(request, body)
    if request.user or request.safety_identifier:
        dropped += _user_id(request, body)
    if request.service_tier is not None:
        dropped += _service_tier(request.service_tier, body)
    return dropped


def _hints(chat: Chat) -> list[str]:
    """The hints that the caller gave and Anthropic has no place for."""
    given = [name for name in chat.body if name in _HINTS]
    return [name for name in given if getattr(chat.request, name) not in (None, _NEUTRAL.get(name))]


def _sampling(chat: Chat, body: dict[str, Any], *, thinking: bool) -> list[str]:
    """temperature, top_p and top_k as the model takes them.

    Anthropic's temperature ends at 1, so a higher one is sent as 1 and listed too. A model that thinks takes neither
    temperature nor top_k, and a top_p from 0.95 on.
    """
    request = chat.request
    match chat.model.traits.sampling:
        case "refused":
            taken: tuple[str, ...] = ()
        case _ if thinking:
            taken = ("top_p",) if (request.top_p or 0) >= 0.95 else ()
        case "single" if request.temperature is not None:
            taken = ("temperature", "top_k")
        case _:
            taken = _SAMPLING
    dropped = []
    for name in _SAMPLING:
        if (value := getattr(request, name)) is not None:
            most = 1 if name == "temperature" else value
            if name in taken:
                body[name] = min(value, most)
            if value > most or (value != 1 and name not in taken):
                dropped.append(name)
    return dropped


def _stop_sequences(request: ChatRequest, body: dict[str, Any]) -> list[str]:
    """The stop sequences; those of blanks alone Anthropic refuses."""
    kept = [stop for stop in request.stops if stop.strip()]
    if kept:
        body["stop_sequences"] = kept
    return ["stop"] if len(kept) < len(request.stops) else []


def _user_id(request: ChatRequest, body: dict[str, Any]) -> list[str]:
    """Who the end user is, unless the name is too long or looks like an e-mail address or a telephone number."""
    name = "safety_identifier" if request.safety_identifier else "user"
    value = getattr(request, name)
    if len(value) > _USER_ID_LIMIT or _PERSONAL.search(value):
        return [name]
    body["metadata"] = {"user_id": value}
    return []


def _service_tier(tier: str, body: dict[str, Any]) -> list[str]:
    """Anthropic knows to use priority capacity if there is some, or not to."""
    known = _SERVICE_TIERS.get(tier)
    if known is None and tier not in ("flex", "priority", "scale", "fast"):
        raise unsupported_value(f"Unsupported value: '{tier[:64]}'.", "service_tier")
    body["service_tier"] = known or "auto"
    return [] if known else ["service_tier"]
