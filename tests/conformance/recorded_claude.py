"""Decode recorded Anthropic answers independently of the gateway, and convert between stream and complete message."""

import json
from collections.abc import Iterator
from typing import Any

from tests.conformance.recorded import Recorded
from tests.upstreams.anthropic_chats import as_stream
from tests.upstreams.test_anthropic_transcripts import blocks_of, events_of, stream_of, usage_of

Json = dict[str, Any]
FINISHES = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length", "refusal": "content_filter"}


def read(message: Json) -> Recorded:
    """The result that the caller must get for a complete message."""
    blocks, usage = message["content"], message["usage"]
    cached = usage.get("cache_read_input_tokens") or 0
    prompt = usage["input_tokens"] + cached + (usage.get("cache_creation_input_tokens") or 0)
    details = usage.get("output_tokens_details") or {}
    return Recorded(
        content="".join(block["text"] for block in blocks if block["type"] == "text"),
        reasoning="".join(block.get("thinking", "") for block in blocks),
        calls=[
            {"id": block["id"], "name": block["name"], "arguments": json.dumps(block["input"])}
            for block in blocks
            if block["type"] == "tool_use"
        ],
        finish=FINISHES[message["stop_reason"]],
        usage=(prompt, cached, usage["output_tokens"], details.get("thinking_tokens") or 0),
        seals=[sealed for block in blocks if (sealed := block.get("signature") or block.get("data"))],
    )


def message_of(transcript: Json) -> Json:
    """The recorded answer as a complete message."""
    response = transcript["response"]
    stream = stream_of(response)
    if stream is None:
        message: Json = response["json"]
        return message
    events = events_of(stream)
    first = next(event["message"] for event in events if event["type"] == "message_start")
    last = next(event["delta"] for event in events if event["type"] == "message_delta")
    blocks = [block | _parsed(block) for block in blocks_of(events)]
    return {**first, **last, "content": blocks, "usage": first["usage"] | usage_of(events)}


def _parsed(block: Json) -> Json:
    text = block.get("input")
    return {"input": json.loads(text or "{}")} if isinstance(text, str) else {}


def events_for(message: Json) -> bytes:
    """The events that would have streamed a complete message."""
    return as_stream(_events(message))


def _events(message: Json) -> Iterator[Json]:
    yield {"type": "message_start", "message": message | {"content": [], "stop_reason": None}}
    for index, block in enumerate(message["content"]):
        opened = {key: {"text": "", "thinking": "", "signature": "", "input": {}}.get(key, block[key]) for key in block}
        yield {"type": "content_block_start", "index": index, "content_block": opened}
        yield {"type": "ping"}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {key: message.get(key) for key in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": message["usage"]["output_tokens"]}}
    yield {"type": "message_stop"}


def _deltas(block: Json) -> Iterator[Json]:
    for key, kind in (("text", "text_delta"), ("thinking", "thinking_delta")):
        for piece in _pieces(block.get(key) or ""):
            yield {"type": kind, key: piece}
    if block.get("signature"):
        yield {"type": "signature_delta", "signature": block["signature"]}
    if "input" in block:
        text = json.dumps(block["input"], ensure_ascii=False, separators=(",", ":")) if block["input"] else ""
        for piece in ("", *_pieces(text)):
            yield {"type": "input_json_delta", "partial_json": piece}


def _pieces(text: str, size: int = 11) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))
