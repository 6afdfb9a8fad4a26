"""Translates OpenAI's parameters, those of output limit and tools excepted (facts/providers.md 1.8).

An unsupported parameter is refused if dropping it would change the meaning of the request; hints are dropped and
listed.
"""

from collections.abc import Mapping
from typing import Any

from gateway.openai_api.errors import unsupported_parameter, unsupported_value
from gateway.upstreams.adapter import Chat
from gateway.upstreams.openai.dialects import Dialect

_HANDLED = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "tools"})
_HINTS = frozenset(
    {
        "cache_control",
        "frequency_penalty",
        "image_config",
        "metadata",
        "moderation",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "repetition_penalty",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "top_k",
        "user",
        "verbosity",
    }
)
_MAX_STOPS = 4
_PERMISSIVE_SCHEMA = {"name": "json_object", "schema": {"type": "object", "additionalProperties": True}}


def apply(dialect: Dialect, chat: Chat, body: dict[str, Any]) -> tuple[str, ...]:
    """Write the supported parameters into ``body``; returns the names of those that were dropped. Raises 400."""
    dropped = []
    for name, value in chat.body.items():
        if name in _HANDLED or value is None or value == []:
            continue
        if name not in dialect.accepts:
            if value in _NEUTRAL.get(name, ()):
                continue
            if name not in _HINTS and name not in dialect.ignores:
                raise unsupported_parameter(name, chat.request.model)
            dropped.append(name)
        elif (rule := _RULES.get(name)) is None:
            body[name] = value
        elif not rule(dialect, chat, body, name, value):
            dropped.append(name)
    return tuple(dropped)


_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "reasoning_effort": ("none",),
    "top_k": (0,),
    "web_search": (False,),
}
"""Values that mean the same as leaving the parameter out."""


def _is_restricted(chat: Chat) -> bool:
    """The model will reason, and takes neither sampling parameters nor logprobs then, as gpt-5.2 (2.4)."""
    traits = chat.model.traits
    return traits.sampling == "without_effort" and (chat.request.reasoning_effort or traits.default_effort) != "none"


def _sampling(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    """Models with fixed sampling take only the default, 1."""
    match chat.model.traits.sampling:
        case "default" | "refused":
            return bool(value == 1)
        case "without_effort" if _is_restricted(chat):
            return bool(value == 1)
        case "single" if name == "top_p" and chat.request.temperature is not None:
            return False
    body[name] = value
    return True


def _penalty(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if not chat.model.traits.penalties:
        return bool(value == 0)
    body[name] = value
    return True


def _top_k(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if value != 0:
        body[name] = value
    return True


def _choices(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if value > chat.model.traits.max_choices:
        raise unsupported_value(f"'n' must be at most {chat.model.traits.max_choices} with this model.", name)
    if value != 1:
        body[name] = value
    return True


def _stop(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if not chat.model.traits.stop:
        raise unsupported_parameter(name, chat.request.model)
    if len(chat.request.stops) > _MAX_STOPS:
        raise unsupported_value(f"At most {_MAX_STOPS} stop sequences are supported.", name)
    body[name] = value
    return True


def _logprobs(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if not value:
        return True
    if not chat.model.traits.logprobs or _is_restricted(chat):
        raise unsupported_parameter(name, chat.request.model)
    body[name] = value
    return True


def _logit_bias(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if value and not chat.model.traits.logit_bias:
        raise unsupported_parameter(name, chat.request.model)
    if value:
        body[name] = value
    return True


def _parallel(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if not chat.model.traits.parallel_tool_calls or not chat.request.tools:
        return False
    body[name] = value
    return True


def _effort(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    traits = chat.model.traits
    word = value if value in traits.efforts else dialect.effort_aliases.get(value, value)
    if traits.thinking == "none":
        if value == "none" and traits.thinking_off:
            return True
        raise unsupported_parameter(name, chat.request.model)
    if word not in traits.efforts and not (value == "none" and traits.thinking_off):
        allowed = ", ".join(f"'{effort}'" for effort in traits.efforts)
        raise unsupported_value(f"Unsupported value: '{value}' with this model. Supported values: {allowed}.", name)
    if traits.thinking == "switch" and word in ("none", "minimal"):
        body["thinking"] = {"type": "disabled"}
    elif traits.thinking != "prompt":
        body[name] = word
    return True


def _thinking(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    """ModelArk's own switch; reasoning_effort takes precedence, because both together are refused (7.2)."""
    if chat.request.reasoning_effort is not None:
        return False
    body[name] = value
    return True


def _verbosity(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if value not in chat.model.traits.verbosity:
        return False
    body[name] = value
    return True


def _service_tier(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if dialect.service_tiers is not None and value not in dialect.service_tiers:
        return False
    body[name] = value
    return True


def _user(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if not dialect.user_tag:
        body[name] = value
    return True


def _tool_choice(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if value == "validated":
        raise unsupported_value("This 'tool_choice' is not supported with this model.", name)
    if chat.request.tools:
        body[name] = value
    return True


def _response_format(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    kind, traits = value["type"], chat.model.traits
    supported = {"json_object": traits.json_object or traits.json_schema, "json_schema": traits.json_schema}
    if not supported.get(kind, True):
        raise unsupported_value(f"This model does not support '{kind}'.", "response_format.type")
    if kind == "json_schema":
        schema = {key: item for key, item in value["json_schema"].items() if item is not None}
        value = {"type": "json_schema", "json_schema": schema}
    elif kind == "json_object" and not traits.json_object:
        value = {"type": "json_schema", "json_schema": _PERMISSIVE_SCHEMA}
    body[name] = value
    return True


def _output_modalities(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    """``modalities`` and ``audio``, limited to the model's outputs."""
    for modality in value if name == "modalities" else ["audio"]:
        if modality not in chat.model.outputs:
            raise unsupported_value(f"This model does not produce '{modality}'.", name)
    body[name] = value
    return True


_RULES = {
    "temperature": _sampling,
    "top_p": _sampling,
    "frequency_penalty": _penalty,
    "presence_penalty": _penalty,
    "top_k": _top_k,
    "n": _choices,
    "stop": _stop,
    "logprobs": _logprobs,
    "top_logprobs": _logprobs,
    "logit_bias": _logit_bias,
    "parallel_tool_calls": _parallel,
    "reasoning_effort": _effort,
    "thinking": _thinking,
    "verbosity": _verbosity,
    "service_tier": _service_tier,
    "tool_choice": _tool_choice,
    "user": _user,
    "response_format": _response_format,
    "modalities": _output_modalities,
    "audio": _output_modalities,
}
"""Each rule writes its parameter into the body, or returns False to have it listed as dropped. Raises 400."""
