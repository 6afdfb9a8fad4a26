"""Chats for the Anthropic adapter, its decoded answers, and the vendor SDK's request types."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from anthropic.types import (
    DocumentBlockParam,
    ImageBlockParam,
    RedactedThinkingBlockParam,
    TextBlockParam,
    ThinkingBlockParam,
    ToolResultBlockParam,
    ToolUseBlockParam,
)
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from gateway.catalog import bundled
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import parse_chat
from gateway.upstreams.adapter import Chat
from gateway.upstreams.anthropic.adapter import AnthropicAdapter
from gateway.upstreams.signature_cache import SignatureCache
from tests.upstreams.sdk_types import check_type

HELLO = {"role": "user", "content": "Hello"}
WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": WEATHER_SCHEMA}}

# Part of version 2023-06-01, but missing in the SDK's types, which describe a later one.
_OLDER_VERSION = ("temperature", "top_p", "top_k", "stream")


def chat(model: str = "claude-haiku-4-5", *, caller: str = "", **body: Any) -> Chat:
    body = {"model": model, "messages": [HELLO], **body}
    return Chat(body=body, request=parse_chat(body), model=bundled().find(model), caller=caller)


def adapter() -> AnthropicAdapter:
    return AnthropicAdapter(SignatureCache())


def sent(bound: Chat, through: AnthropicAdapter | None = None) -> dict[str, Any]:
    """The outgoing body, validated by the SDK's types without unknown keys."""
    body: dict[str, Any] = msgspec.json.decode((through or adapter()).build_request(bound).body)
    check_with_sdk(body)
    return body


def turns(*messages: Any, model: str = "claude-haiku-4-5") -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = sent(chat(model, messages=list(messages)))["messages"]
    return result


def refusal(*messages: Any, model: str = "claude-haiku-4-5", **body: Any) -> GatewayError:
    """The 400 that a chat is rejected with."""
    with pytest.raises(GatewayError) as caught:
        adapter().build_request(chat(model, **{"messages": list(messages) or [HELLO]} | body))
    assert caught.value.status == 400
    return caught.value


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def calls(*ids: str, content: str | None = None, arguments: str = "{}") -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {"id": call_id, "type": "function", "function": {"name": "f", "arguments": arguments}} for call_id in ids
        ],
    }


def result(call_id: str, content: Any = "done", **extra: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **extra}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def dropped(bound: Chat) -> tuple[str, ...]:
    return adapter().build_request(bound).dropped


def check_with_sdk(body: dict[str, Any]) -> None:
    """Assert that ``body`` matches the SDK's types and has no unknown keys."""
    plain = {name: value for name, value in body.items() if name not in _OLDER_VERSION}
    check_type(
        MessageCreateParamsNonStreaming,
        plain | {"messages": [message | {"content": ""} for message in plain["messages"]]},
    )
    for message in body["messages"]:
        assert message["content"]
        for block in message["content"]:
            _check_block(block)


def _check_block(block: dict[str, Any]) -> None:
    if block["type"] == "tool_result" and isinstance(block.get("content"), list):
        for inner in block["content"]:
            _check_block(inner)
        block = block | {"content": ""}
    check_type(_BLOCKS[block["type"]], block)


_BLOCKS = {
    "text": TextBlockParam,
    "image": ImageBlockParam,
    "document": DocumentBlockParam,
    "thinking": ThinkingBlockParam,
    "redacted_thinking": RedactedThinkingBlockParam,
    "tool_use": ToolUseBlockParam,
    "tool_result": ToolResultBlockParam,
}


def as_stream(events: Iterable[dict[str, Any]]) -> bytes:
    """Events in Anthropic's framing, padding included."""
    return b"".join(
        b"event: " + event["type"].encode() + b"\ndata: " + msgspec.json.encode(event)[:-1] + b"   }\n\n"
        for event in events
    )
