"""Chats for the OpenAI-shaped adapter, and the vendor SDK's request types."""

from functools import cache
from typing import Any, get_type_hints

import msgspec
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionContentPartParam,
    ChatCompletionContentPartRefusalParam,
    ChatCompletionCustomToolParam,
    ChatCompletionDeveloperMessageParam,
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionToolMessageParam,
    ChatCompletionUserMessageParam,
)
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

from gateway.catalog import bundled
from gateway.openai_api.deltas import Delta
from gateway.openai_api.request import parse_chat
from gateway.upstreams.adapter import Chat
from gateway.upstreams.openai.adapter import OpenAIAdapter
from gateway.upstreams.openai.dialects import MODELARK, NOUS, OPENAI, XAI
from tests.upstreams.decoding import read_stream

HI: dict[str, Any] = {"role": "user", "content": "Hi"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
DIALECTS = {"openai": OPENAI, "xai": XAI, "bytedance": MODELARK, "nous": NOUS}
MODELS = [m.id for m in bundled().models.values() if m.provider in DIALECTS and m.endpoint == "chat"]

# Parameters that these vendors accept beyond OpenAI's own (facts/providers.md 7.2, 8).
_VENDOR_EXTRAS = {
    "bytedance": {"top_k", "repetition_penalty", "thinking"},
    "nous": {"top_k", "repetition_penalty", "tags"},
}
_MESSAGES: dict[str, Any] = {
    "system": ChatCompletionSystemMessageParam,
    "developer": ChatCompletionDeveloperMessageParam,
    "user": ChatCompletionUserMessageParam,
    "assistant": ChatCompletionAssistantMessageParam,
    "tool": ChatCompletionToolMessageParam,
}
_PARTS: dict[str, Any] = {"refusal": ChatCompletionContentPartRefusalParam, "video_url": dict}
_TOOLS: dict[str, Any] = {"function": ChatCompletionFunctionToolParam, "custom": ChatCompletionCustomToolParam}


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
    """Assert that ``body`` matches the SDK's types; for OpenAI itself, also without unknown keys."""
    form = CompletionCreateParamsStreaming if body.get("stream") else CompletionCreateParamsNonStreaming
    unknown = body.keys() - get_type_hints(form).keys() - _VENDOR_EXTRAS.get(provider, set())
    assert not unknown, unknown
    _adapter(form).validate_python(body)
    for message in body["messages"]:
        _adapter(ChatCompletionMessageParam).validate_python(message)
        if provider == "openai":
            assert message.keys() <= get_type_hints(_MESSAGES[message["role"]]).keys()
        if isinstance(message.get("content"), list):
            for part in message["content"]:
                _adapter(_PARTS.get(part["type"], ChatCompletionContentPartParam)).validate_python(part)
                assert part.keys() == {"type", part["type"]}
    for tool in body.get("tools", ()):
        _adapter(_TOOLS[tool["type"]]).validate_python(tool)
        assert tool.keys() == {"type", tool["type"]}


@cache
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)
