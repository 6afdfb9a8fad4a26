"""The body of ``POST /images/generations`` (facts/providers.md 6.6, 7.4, 9)."""

from typing import Any

from gateway.openai_api.errors import invalid_request, unsupported_parameter, unsupported_value
from gateway.openai_api.request import ChatRequest, TextFormat
from gateway.upstreams import message_hints
from gateway.upstreams.adapter import Chat
from gateway.upstreams.images.dialects import ImagesDialect
from gateway.upstreams.images.prompt import prompt, references

_UNSUPPORTED = (
    "tools",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "audio",
    "thinking",
    "web_search",
)
_DROPPED = (
    "cache_control",
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "repetition_penalty",
    "safety_identifier",
    "safety_settings",
    "seed",
    "service_tier",
    "stop",
    "store",
    "temperature",
    "tool_choice",
    "top_k",
    "top_p",
    "user",
    "verbosity",
)
"""Hints that apply to text only."""


def build(dialect: ImagesDialect, chat: Chat) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request body, and the names of the dropped parameters. Raises 400."""
    request = chat.request
    _check(request)
    body: dict[str, Any] = {
        "model": chat.model.upstream_id,
        "prompt": prompt(request.messages),
        "response_format": "b64_json",
        **dialect.fixed,
        **_size(dialect, request),
        **_count(dialect, chat),
    }
    if images := references(request.messages, dialect.references):
        body["image"] = images[0] if len(images) == 1 else images
    dropped = [name for name in _DROPPED if getattr(request, name) is not None]
    return body, (*dropped, *message_hints.in_messages(chat.body["messages"]))


def _check(request: ChatRequest) -> None:
    """Raise 400 for what an image endpoint does not support."""
    for name in _UNSUPPORTED:
        if getattr(request, name):
            raise unsupported_parameter(name, request.model)
    if request.web_search_options is not None:
        raise unsupported_parameter("web_search_options", request.model)
    if request.response_format is not None and not isinstance(request.response_format, TextFormat):
        raise unsupported_parameter("response_format", request.model)
    for modality in request.modalities or ():
        if modality not in ("image", "text"):
            raise unsupported_value(f"This model does not produce '{modality}'.", "modalities")
    if request.modalities is not None and "image" not in request.modalities:
        raise unsupported_value("This model generates images; 'modalities' must contain 'image'.", "modalities")


def _size(dialect: ImagesDialect, request: ChatRequest) -> dict[str, str]:
    given = request.image_config or {}
    for name, value in given.items():
        param = f"image_config.{name}"
        if name != "image_size" or not dialect.sizes:
            raise unsupported_parameter(param, request.model)
        if not isinstance(value, str):
            raise invalid_request(f"Invalid '{param}': expected a string.", param)
    return {"size": given["image_size"]} if given else {}


def _count(dialect: ImagesDialect, chat: Chat) -> dict[str, int]:
    count, limit = chat.request.choices, chat.model.traits.max_choices if dialect.counts else 1
    if count > limit:
        raise unsupported_value(f"'n' must be at most {limit} with this model.", "n")
    return {"n": count} if count > 1 else {}
