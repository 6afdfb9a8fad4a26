"""Anthropic's stream events, and answers composed of them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta
from gateway.upstreams.adapter import Chat
from tests.upstreams.anthropic_chats import adapter, as_stream, chat
from tests.upstreams.decoding import put_together, read_stream

START_USAGE = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 0}


def start(usage: dict[str, Any] | None = None, message_id: str = "msg_1") -> dict[str, Any]:
    message = {"type": "message", "id": message_id, "role": "assistant", "model": "claude-haiku-4-5-20251001"}
    return {"type": "message_start", "message": message | {"content": [], "usage": usage or START_USAGE}}


def block(index: int, begins: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": begins},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def tool(index: int, *fragments: str, name: str = "weather", call_id: str = "toolu_1") -> list[dict[str, Any]]:
    begins = {"type": "tool_use", "id": call_id, "name": name, "input": {}, "caller": {"type": "direct"}}
    return block(index, begins, *({"type": "input_json_delta", "partial_json": piece} for piece in fragments))


def end(reason: str | None = "end_turn", usage: dict[str, Any] | None = None, **delta: Any) -> list[dict[str, Any]]:
    ending: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None, **delta}}
    return [ending | {"usage": usage or {"output_tokens": 5}}, {"type": "message_stop"}]


def streamed(*events: dict[str, Any], bound: Chat | None = None) -> list[Delta]:
    return list(read_stream(adapter().decoder(bound or chat()), as_stream(events)))


def answer(*events: dict[str, Any], bound: Chat | None = None) -> dict[str, Any]:
    choice: dict[str, Any] = put_together(streamed(*events, bound=bound)).choices()[0]
    return choice


def complete(content: Sequence[dict[str, Any]], bound: Chat | None = None, **fields: Any) -> Assembler:
    body = start()["message"] | {"content": content, "stop_reason": "end_turn", "stop_sequence": None} | fields
    return put_together(adapter().decode_response(bound or chat(), msgspec.json.encode(body)))
