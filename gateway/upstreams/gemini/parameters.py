"""Translates OpenAI's parameters, those of tools and thinking excepted (facts/providers.md 1.8, 5.2, 5.3).

An unsupported parameter is refused if dropping it would change the meaning of the request; hints are dropped and
listed.
"""

from typing import Any

from gateway.openai_api.errors import invalid_request, unsupported_parameter, unsupported_value
from gateway.openai_api.request import JsonObjectFormat, JsonSchemaFormat, TextFormat
from gateway.upstreams import message_hints
from gateway.upstreams.adapter import Chat
from gateway.upstreams.gemini import schema
from gateway.upstreams.gemini.thinking import thinking_config
from gateway.upstreams.gemini.tools import forces_call, search_parameter

_MAX_STOPS = 5
_MIN_SEED, _MAX_SEED = -(2**31), 2**31 - 1
_UNSUPPORTED = frozenset({"logprobs", "top_logprobs", "logit_bias", "audio", "thinking"})
_HINTS: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "parallel_tool_calls": (True,),
    "user": (),
    "safety_identifier": (),
    "metadata": (),
    "store": (False,),
    "verbosity": (),
    "prediction": (),
    "moderation": (),
    "prompt_cache_key": (),
    "prompt_cache_retention": (),
    "prompt_cache_options": (),
    "cache_control": (),
}
"""Unsupported hints, with the values that mean the same as leaving them out."""
_SEARCH_HINTS = ("search_context_size", "user_location")
_TIERS = {
    "auto": None,
    "scale": None,
    "default": "standard",
    "standard": "standard",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}
"""OpenAI's tiers; ``fast`` is its alias of ``priority``, ``scale`` has no counterpart."""


def check(chat: Chat) -> None:
    """Raise 400 for an unsupported parameter that changes the meaning of the request."""
    for name in chat.body:
        if name in _UNSUPPORTED and getattr(chat.request, name):
            raise unsupported_parameter(name, chat.request.model)


def dropped(chat: Chat) -> tuple[str, ...]:
    """The names of the caller's hints that Gemini does not support."""
    request = chat.request
    hints = [*message_hints.in_messages(chat.body["messages"])]
    if request.tools:
        hints += message_hints.in_tools(chat.body["tools"])
    if not _HINTS.keys().isdisjoint(chat.body):
        given = [(name, getattr(request, name)) for name in _HINTS]
        hints += [name for name, value in given if value is not None and value not in _HINTS[name]]
    if request.seed is not None and not _MIN_SEED <= request.seed <= _MAX_SEED:
        hints.append("seed")
    if request.service_tier == "scale":
        hints.append("service_tier")
    if request.image_config and not generates_images(chat):
        hints.append("image_config")
    if not isinstance(request.response_format, TextFormat | None) and forces_call(request):
        hints.append("response_format")
    if request.web_search_options:
        options = request.web_search_options
        hints += [f"web_search_options.{name}" for name in _SEARCH_HINTS if options.get(name) is not None]
    return tuple(hints)


def generates_images(chat: Chat) -> bool:
    """The model generates images."""
    return "image" in chat.model.outputs


def service_tier(tier: str) -> str | None:
    """Gemini's name of a service tier, or None. Raises 400 for an unknown one."""
    if tier not in _TIERS:
        raise unsupported_value(f"Unsupported value: '{tier}' with this model.", "service_tier")
    return _TIERS[tier]


def generation_config(chat: Chat) -> dict[str, Any]:
    """generationConfig without unset fields. Raises 400."""
    request = chat.request
    seed = request.seed if request.seed is not None and _MIN_SEED <= request.seed <= _MAX_SEED else None
    config: dict[str, Any] = {
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "maxOutputTokens": chat.output_tokens,
        "stopSequences": None if request.stop is None else _stops(chat),
        "candidateCount": None if request.n is None else _candidates(chat),
        "seed": seed,
        "thinkingConfig": thinking_config(chat),
        "responseModalities": _modalities(chat),
        "imageConfig": _image_config(chat) if generates_images(chat) else None,
    }
    config |= _response_format(chat)
    return {name: value for name, value in config.items() if value is not None}


def _stops(chat: Chat) -> list[str] | None:
    stops = chat.request.stops
    if stops and not chat.model.traits.stop:
        raise unsupported_parameter("stop", chat.request.model)
    if len(stops) > _MAX_STOPS:
        raise unsupported_value(f"At most {_MAX_STOPS} stop sequences are supported.", "stop")
    return stops or None


def _candidates(chat: Chat) -> int | None:
    count, most = chat.request.choices, chat.model.traits.max_choices
    if count == 1:
        return None
    if count > most:
        raise unsupported_value(f"'n' must be at most {most} with this model.", "n")
    if chat.stream:
        raise unsupported_value("'n' must be 1 in a stream with this model.", "n")
    return count


def _modalities(chat: Chat) -> list[str] | None:
    """responseModalities of an image model: text and images unless the caller requested one of them."""
    requested = chat.request.modalities
    for modality in requested or ():
        if modality not in chat.model.outputs:
            raise unsupported_value(f"This model does not produce '{modality}'.", "modalities")
    if not generates_images(chat):
        return None
    wanted = set(requested or ("text", "image"))
    return [modality.upper() for modality in ("text", "image") if modality in wanted]


_IMAGE_FIELDS = {"aspect_ratio": "aspectRatio", "image_size": "imageSize"}


def _image_config(chat: Chat) -> dict[str, str] | None:
    config = {}
    for name, value in (chat.request.image_config or {}).items():
        if name not in _IMAGE_FIELDS:
            raise unsupported_parameter(f"image_config.{name}", chat.request.model)
        if not isinstance(value, str):
            raise invalid_request(f"Invalid 'image_config.{name}': expected a string.", f"image_config.{name}")
        config[_IMAGE_FIELDS[name]] = value
    return config or None


def _response_format(chat: Chat) -> dict[str, Any]:
    """The format of the text; none where a call is forced, which Gemini refuses beside it (5.2)."""
    wanted, traits = chat.request.response_format, chat.model.traits
    if wanted is None or isinstance(wanted, TextFormat) or forces_call(chat.request):
        return {}
    known = traits.json_schema if isinstance(wanted, JsonSchemaFormat) else traits.json_object
    if generates_images(chat) or not known:
        raise unsupported_parameter("response_format", chat.request.model)
    if (chat.request.tools or search_parameter(chat.request)) and not traits.json_with_tools:
        raise unsupported_value("This model cannot combine 'response_format' with tools.", "response_format")
    if isinstance(wanted, JsonObjectFormat) or wanted.json_schema.schema is None:
        return {"responseMimeType": "application/json"}
    description = {"description": wanted.json_schema.description} if wanted.json_schema.description else {}
    json_schema = schema.translate(description | wanted.json_schema.schema)
    return {"responseMimeType": "application/json", "responseJsonSchema": json_schema}
