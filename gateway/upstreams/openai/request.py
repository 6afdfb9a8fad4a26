"""Builds the request of an OpenAI-shaped upstream: the caller's body without what the vendor does not support.

An unsupported parameter is refused if dropping it would change the meaning of the request; hints are dropped and listed
(facts/providers.md 1.8).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.openai_api.errors import invalid_request, unsupported_parameter, unsupported_value
from gateway.openai_api.request import FunctionTool, Tool
from gateway.upstreams import message_hints
from gateway.upstreams.adapter import Chat
from gateway.upstreams.openai.dialects import HINTS, Dialect, OutputLimit
from gateway.upstreams.openai.messages import translate_messages, translate_tools, without_nulls
from gateway.upstreams.openai.tool_names import name_map, rename_tools

_HANDLED = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "tools", "web_search"}
)
_SAMPLING = ("temperature", "top_p")
_DEFAULT_USER = "tee-gateway"
_PERMISSIVE_SCHEMA = {"name": "json_object", "schema": {"type": "object", "additionalProperties": True}}


def build(dialect: Dialect, chat: Chat) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request body, and the names of the dropped parameters. Raises 400.

    Hints are looked for only in messages and tools that are not sent as they are: a comparison is cheaper.
    """
    names = name_map(chat.request.tools) if chat.request.tools else None
    body: dict[str, Any] = {
        "model": chat.model.upstream_id,
        "messages": translate_messages(dialect, chat, names),
    }
    dropped = _copy_parameters(dialect, chat, body)
    if dialect.user_tag:
        body["tags"] = [f"user={chat.request.user or _DEFAULT_USER}"]
    if chat.request.tools:
        body["tools"] = translate_tools(dialect, chat)
        if body["tools"] != chat.body["tools"]:
            dropped += message_hints.in_tools(chat.body["tools"])
        if not dialect.allowed_tools:
            _resolve_allowed_tools(body)
        if names is not None:
            rename_tools(body, names)
        if not dialect.strict_tools and any(_strict(tool) for tool in chat.request.tools):
            dropped += ("tools.strict",)
    if body["messages"] != chat.body["messages"]:
        dropped += message_hints.find(chat.body["messages"], _supported_hints(dialect))
    _limit_output(dialect, chat, body)
    if chat.request.web_search:
        raise unsupported_parameter("web_search", chat.request.model)
    if chat.stream:
        body["stream"] = True
        body["stream_options"] = dict(dialect.stream_options)
    return body, dropped


def _supported_hints(dialect: Dialect) -> frozenset[str]:
    names = (message_hints.NAME,) if dialect.message_names else ()
    return frozenset((message_hints.DETAIL, *names))


def _resolve_allowed_tools(body: dict[str, Any]) -> None:
    """Replace an ``allowed_tools`` choice by its mode, and ``tools`` by the allowed ones."""
    match body.get("tool_choice"):
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": [*allowed]}}:
            names = set(_function_names(allowed))
            body["tools"] = [tool for tool in body["tools"] if tool["function"]["name"] in names]
            if not body["tools"]:
                raise invalid_request("'tool_choice' allows none of the 'tools'.", "tool_choice")
            body["tool_choice"] = mode
        case {"type": "allowed_tools"}:
            raise unsupported_value("This 'tool_choice' is not supported with this model.", "tool_choice")


def _function_names(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        match entry:
            case {"type": "function", "function": {"name": str(name)}}:
                yield name


def _strict(tool: Tool) -> bool:
    return isinstance(tool, FunctionTool) and bool(tool.function.strict)


def _copy_parameters(dialect: Dialect, chat: Chat, body: dict[str, Any]) -> tuple[str, ...]:
    dropped = []
    for name, value in chat.body.items():
        if name in _HANDLED or value is None or value == []:
            continue
        if name not in dialect.accepts:
            if _is_neutral(name, value):
                continue
            if name not in HINTS and name not in dialect.ignores:
                raise unsupported_parameter(name, chat.request.model)
            dropped.append(name)
        elif (rule := _RULES.get(name)) is None:
            body[name] = value
        elif not rule(dialect, chat, body, name, value):
            dropped.append(name)
    return tuple(dropped)


def _is_neutral(name: str, value: Any) -> bool:
    """``value`` means the same as leaving the parameter out."""
    return value in _NEUTRAL.get(name, ())


_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "reasoning_effort": ("none",),
}


def _sampling(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    """Models with fixed sampling take only the default, 1; gpt-5.2 does so only while it reasons (2.4)."""
    match chat.model.traits.sampling:
        case "default" | "refused":
            return bool(value == 1)
        case "without_effort" if (chat.request.reasoning_effort or chat.model.traits.default_effort) != "none":
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


def _choices(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if value > chat.model.traits.max_choices:
        raise unsupported_value(f"'n' must be at most {chat.model.traits.max_choices} with this model.", name)
    if value != 1:
        body[name] = value
    return True


def _stop(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if not chat.model.traits.stop:
        raise unsupported_parameter(name, chat.request.model)
    if len(chat.request.stops) > dialect.max_stops:
        raise unsupported_value(f"At most {dialect.max_stops} stop sequences are supported.", name)
    body[name] = value
    return True


def _logprobs(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    if not value:
        return True
    while_reasoning = (
        chat.model.traits.sampling == "without_effort" and (chat.request.reasoning_effort or "none") != "none"
    )
    if not chat.model.traits.logprobs or while_reasoning:
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
        if value == "none":
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
    if chat.request.tools:
        body[name] = value
    return True


def _response_format(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    traits = chat.model.traits
    match value["type"]:
        case "json_schema" if not traits.json_schema:
            raise unsupported_value("This model does not support 'json_schema'.", "response_format.type")
        case "json_object" if not traits.json_object:
            if not traits.json_schema:
                raise unsupported_value("This model does not support 'json_object'.", "response_format.type")
            body[name] = {"type": "json_schema", "json_schema": _PERMISSIVE_SCHEMA}
            return True
        case "json_schema":
            body[name] = {"type": "json_schema", "json_schema": without_nulls(value["json_schema"])}
            return True
    body[name] = value
    return True


def _output_modalities(dialect: Dialect, chat: Chat, body: dict[str, Any], name: str, value: Any) -> bool:
    """``modalities`` and ``audio``, limited to the model's outputs."""
    for modality in value if name == "modalities" else ["audio"]:
        if modality not in chat.model.outputs:
            raise unsupported_value(f"This model does not produce '{modality}'.", name)
    body[name] = value
    return True


# Each rule writes its parameter into the body, or returns False to have it listed as dropped. Raises 400.
_RULES = {
    "temperature": _sampling,
    "top_p": _sampling,
    "frequency_penalty": _penalty,
    "presence_penalty": _penalty,
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


def _limit_output(dialect: Dialect, chat: Chat, body: dict[str, Any]) -> None:
    tokens = chat.output_tokens
    if dialect.output_limit is OutputLimit.ALWAYS and tokens is None:
        tokens = chat.model.max_output_tokens
    if tokens is not None:
        body[_limit_name(dialect, chat)] = tokens


def _limit_name(dialect: Dialect, chat: Chat) -> str:
    as_given = "max_completion_tokens" if chat.request.max_tokens is None else "max_tokens"
    match dialect.output_limit:
        case OutputLimit.MAX_TOKENS:
            return "max_tokens"
        case OutputLimit.ALWAYS:
            both = chat.request.max_completion_tokens is not None or chat.output_limit is not None
            return "max_completion_tokens" if both else as_given
        case OutputLimit.BY_MODEL:
            required = chat.model.traits.max_completion_tokens or chat.request.max_completion_tokens is not None
            return "max_completion_tokens" if required else as_given
