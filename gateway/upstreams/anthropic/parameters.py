"""Translates OpenAI's parameters, those of tools and thinking excepted (facts/providers.md 1.8, 3.7, 3.10).

An unsupported parameter is refused if dropping it would change the meaning of the request; hints are dropped and
listed.
"""

import re
from typing import Any

from gateway.openai_api.errors import unsupported_parameter, unsupported_value
from gateway.openai_api.request import ChatRequest
from gateway.upstreams import message_hints
from gateway.upstreams.adapter import Chat

_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "audio": (),
    "modalities": (["text"],),
}
"""Unsupported parameters, with the values that mean the same as leaving them out."""
_HINTS: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "image_config": (),
    "metadata": (),
    "moderation": (),
    "prediction": (),
    "presence_penalty": (0,),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "repetition_penalty": (1,),
    "safety_settings": (),
    "seed": (),
    "store": (False,),
    "verbosity": (),
}
"""The same for unsupported hints."""
_MESSAGE_HINTS = frozenset({message_hints.CACHE_CONTROL})
_SAMPLING = ("temperature", "top_p", "top_k")
_SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_PERSONAL = re.compile(r"@|^\+?[\d\s().-]{7,}$")
_USER_ID_LIMIT = 256


def check(chat: Chat) -> None:
    """Raise 400 for the first parameter that Anthropic does not support."""
    for name in chat.body:
        if name in _UNSUPPORTED and getattr(chat.request, name) not in (None, *_UNSUPPORTED[name]):
            raise unsupported_parameter(name, chat.request.model)


def apply(chat: Chat, body: dict[str, Any], *, thinking: bool) -> list[str]:
    """Write the supported parameters into ``body``; returns the names of those that were dropped."""
    request = chat.request
    dropped = [*message_hints.in_messages(chat.body["messages"], _MESSAGE_HINTS)]
    if not _HINTS.keys().isdisjoint(chat.body):
        given = [(name, getattr(request, name)) for name in chat.body if name in _HINTS]
        dropped += [name for name, value in given if value is not None and value not in _HINTS[name]]
    dropped += _sampling(chat, body, thinking=thinking)
    if request.stop is not None:
        dropped += _stop_sequences(request, body)
    if request.user or request.safety_identifier:
        dropped += _user_id(request, body)
    if request.service_tier is not None:
        dropped += _service_tier(request.service_tier, body)
    return dropped


def _sampling(chat: Chat, body: dict[str, Any], *, thinking: bool) -> list[str]:
    """temperature, top_p and top_k as the model takes them.

    Anthropic's highest temperature is 1: a higher one is sent as 1 and listed. While thinking, a model takes neither
    temperature nor top_k, and top_p only from 0.95 on.
    """
    request = chat.request
    match chat.model.traits.sampling:
        case "refused":
            supported: tuple[str, ...] = ()
        case _ if thinking:
            supported = ("top_p",) if (request.top_p or 0) >= 0.95 else ()
        case "single" if request.temperature is not None:
            supported = ("temperature", "top_k")
        case _:
            supported = _SAMPLING
    dropped = []
    for name in _SAMPLING:
        if (value := getattr(request, name)) is not None:
            highest = 1 if name == "temperature" else value
            if name in supported:
                body[name] = min(value, highest)
            if value > highest or (value != 1 and name not in supported):
                dropped.append(name)
    return dropped


def _stop_sequences(request: ChatRequest, body: dict[str, Any]) -> list[str]:
    """The stop sequences without blank ones, which Anthropic refuses."""
    kept = [stop for stop in request.stops if stop.strip()]
    if kept:
        body["stop_sequences"] = kept
    return ["stop"] if len(kept) < len(request.stops) else []


def _user_id(request: ChatRequest, body: dict[str, Any]) -> list[str]:
    """The end user's id: the first that is not too long and does not look like an e-mail address or a phone number."""
    given = {"safety_identifier": request.safety_identifier, "user": request.user}
    ids = [value for value in given.values() if value and len(value) <= _USER_ID_LIMIT and not _PERSONAL.search(value)]
    if ids:
        body["metadata"] = {"user_id": ids[0]}
    return [name for name, value in given.items() if value and value not in ids[:1]]


def _service_tier(tier: str, body: dict[str, Any]) -> list[str]:
    """Anthropic's tiers are only to use priority capacity where available, or never."""
    known = _SERVICE_TIERS.get(tier)
    if known is None and tier not in ("flex", "priority", "scale", "fast"):
        raise unsupported_value(f"Unsupported value: '{tier[:64]}'.", "service_tier")
    body["service_tier"] = known or "auto"
    return [] if known else ["service_tier"]
