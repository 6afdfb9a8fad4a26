"""Chats for the OpenAI-shaped adapter, and the vendor SDK's request types."""

from collections.abc import Set
from typing import Any

import msgspec
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionContentPartParam,
    ChatCompletionCustomToolParam,
    ChatCompletionDeveloperMessageParam,
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageCustomToolCallParam,
    ChatCompletionMessageFunctionToolCallParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionToolMessageParam,
    ChatCompletionUserMessageParam,
)
from openai.types.chat.chat_completion_assistant_message_param import ContentArrayOfContentPart
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from gateway.catalog import bundled
from gateway.openai_api.deltas import Delta
from gateway.openai_api.request import parse_chat
from gateway.upstreams.adapter import Chat
from gateway.upstreams.openai.adapter import OpenAIAdapter
from gateway.upstreams.openai.dialects import MODELARK, NOUS, OPENAI, XAI
from tests.upstreams.decoding import read_stream
from tests.upstreams.sdk_types import check_type

HI: dict[str, Any] = {"role": "user", "content": "Hi"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
DIALECTS = {"openai": OPENAI, "xai": XAI, "bytedance": MODELARK, "nous": NOUS}
MODELS = [m.id for m in bundled().models.values() if m.provider in DIALECTS and m.endpoint == "chat"]

# Parameters that these vendors accept beyond OpenAI's own (facts/providers.md 7.2, 8).
_VENDOR_EXTRAS: dict[str, Set[str]] = {
    "openai": set(),
    "xai": set(),
    "bytedance": {"top_k", "repetition_penalty", "thinking"},
    "nous": {"top_k", "repetition_penalty", "tags"},
}
_REASONING = {"reasoning_content", "encrypted_content"}
_MESSAGES: dict[str, Any] = {
    "system": ChatCompletionSystemMessageParam,
    "developer": ChatCompletionDeveloperMessageParam,
    "user": ChatCompletionUserMessageParam,
    "assistant": ChatCompletionAssistantMessageParam,
    "tool": ChatCompletionToolMessageParam,
}
_MODELARK_PICTURE_EXTRAS = {"image_pixel_limit", "max_pixels", "min_pixels"}
_TOOLS: dict[str, Any] = {"function": ChatCompletionFunctionToolParam, "custom": ChatCompletionCustomToolParam}
_CALLS: dict[str, Any] = {
    "function": ChatCompletionMessageFunctionToolCallParam,
    "custom": ChatCompletionMessageCustomToolCallParam,
}


def chat(model: str = "gpt-4.1", *, output_limit: int | None = None, **parameters: Any) -> Chat:
    body = {"model": model, "messages": [HI], **parameters}
    return Chat(body, parse_chat(body), bundled().find(model), output_limit)


def adapter(bound: Chat) -> OpenAIAdapter:
    return OpenAIAdapter(DIALECTS[bound.model.provider])


def sent(bound: Chat) -> dict[str, Any]:
    """The outgoing body; fails on anything that OpenAI's SDK types do not describe."""
    body: dict[str, Any] = msgspec.json.decode(adapter(bound).build_request(bound).body)
    check_with_sdk(body, bound.model.provider)
    return body


def dropped(bound: Chat) -> tuple[str, ...]:
    return adapter(bound).build_request(bound).dropped


def streamed(bound: Chat, data: bytes, pieces: int | None = None) -> list[Delta]:
    """The deltas of an event stream, whole or in pieces of so many bytes."""
    cuts = range(pieces, len(data), pieces) if pieces else ()
    return list(read_stream(adapter(bound).decoder(bound), data, cuts))


def check_with_sdk(body: dict[str, Any], provider: str = "openai") -> None:
    """Assert that ``body`` matches the SDK's types and has no unknown keys but the vendor's own.

    Messages and tools one by one: pydantic validates the SDK's iterables lazily.
    """
    form: Any = CompletionCreateParamsStreaming if body.get("stream") else CompletionCreateParamsNonStreaming
    check_type(form, without(body, _VENDOR_EXTRAS[provider] | {"messages", "tools"}) | {"messages": []})
    for message in body["messages"]:
        _check_message(message, provider)
    for tool in body.get("tools", ()):
        check_type(_TOOLS[tool["type"]], tool)


def _check_message(message: dict[str, Any], provider: str) -> None:
    content = message.get("content")
    if isinstance(content, list):
        form: Any = ContentArrayOfContentPart if message["role"] == "assistant" else ChatCompletionContentPartParam
        for part in content:
            if provider == "bytedance" and part["type"] == "image_url":
                part = part | {"image_url": without(part["image_url"], _MODELARK_PICTURE_EXTRAS)}
            if provider != "bytedance" or part["type"] != "video_url":
                check_type(form, part)
        message = message | {"content": ""}
    for call in message.get("tool_calls", ()):
        check_type(_CALLS[call["type"]], call)
    if message["role"] == "assistant":
        message = without(message, {"tool_calls"} | (set() if provider == "openai" else _REASONING))
    check_type(_MESSAGES[message["role"]], message)


def without(body: dict[str, Any], keys: Set[str]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in keys}
