"""Renders an answer as a message and as its stream events: facts/providers.md 3.11, 3.12."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tools.simulators.composition import Answer, Call, Tokens
from tools.simulators.identifiers import Identifiers

PHRASE = re.compile(r"(?:\s*\S{1,40}){1,4}|\s+")
FRAGMENT = re.compile(r'[^"]{1,10}|"')

STOP_REASONS = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}
REFUSAL = {
    "type": "refusal",
    "category": "cyber",
    "explanation": "This request triggered restrictions on violative cyber content and was blocked under Anthropic's "
    "Usage Policy.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """`thinking` is a complete thinking or redacted_thinking block, or None."""

    answer: Answer
    ids: Identifiers
    id: str
    thinking: Mapping[str, Any] | None
    calls: tuple[tuple[str, Call], ...]


def document(render: Render) -> bytes:
    stop_reason = STOP_REASONS[render.answer.ending]
    return msgspec.json.encode(
        {
            **_head(render),
            "content": list(_blocks(render)),
            "stop_reason": stop_reason,
            "stop_sequence": render.answer.stop_sequence,
            "stop_details": REFUSAL if stop_reason == "refusal" else None,
            **({"usage": usage(render.answer.tokens)} if render.answer.tokens else {}),
        }
    )


def _head(render: Render) -> dict[str, Any]:
    return {"model": render.answer.model, "id": render.id, "type": "message", "role": "assistant"}


def _blocks(render: Render) -> Iterator[Mapping[str, Any]]:
    if render.thinking is not None:
        yield render.thinking
    if render.answer.text:
        yield {"type": "text", "text": render.answer.text}
    for id_, call in render.calls:
        yield {"type": "tool_use", "id": id_, "name": call.name, "input": call.input, "caller": {"type": "direct"}}


def usage(tokens: Tokens, provisional: int | None = None) -> dict[str, Any]:
    """input_tokens excludes both cache numbers, output_tokens includes thinking (facts/providers.md 1.4)."""
    return {
        "input_tokens": tokens.prompt - tokens.cached - tokens.cache_write,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": tokens.cache_write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": tokens.completion + tokens.reasoning if provisional is None else provisional,
        "service_tier": "standard",
        "inference_geo": "not_available",
        **({"output_tokens_details": {"thinking_tokens": tokens.reasoning}} if provisional is None else {}),
    }


def events(render: Render) -> list[bytes]:
    return [event(value, render.ids) for value in _events(render)]


def _events(render: Render) -> Iterator[dict[str, Any]]:
    tokens = render.answer.tokens
    message = {**_head(render), "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    if tokens is not None:
        message["usage"] = usage(tokens, provisional=min(3, tokens.completion + tokens.reasoning))
    yield {"type": "message_start", "message": message}
    for index, block in enumerate(_blocks(render)):
        yield {"type": "content_block_start", "index": index, "content_block": _opened(block)}
        if index == 0:
            yield {"type": "ping"}
        for delta in _deltas(block, render):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop_reason = STOP_REASONS[render.answer.ending]
    yield {
        "type": "message_delta",
        "delta": {
            "stop_reason": stop_reason,
            "stop_sequence": render.answer.stop_sequence,
            "stop_details": REFUSAL if stop_reason == "refusal" else None,
        },
        **({"usage": _final_usage(tokens)} if tokens else {}),
    }
    yield {"type": "message_stop"}


def _final_usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": tokens.prompt - tokens.cached - tokens.cache_write,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cached,
        "output_tokens": tokens.completion + tokens.reasoning,
        "output_tokens_details": {"thinking_tokens": tokens.reasoning},
    }


def _opened(block: Mapping[str, Any]) -> dict[str, Any]:
    """The block in content_block_start: empty, except for redacted thinking."""
    empty = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {key: empty.get(key, value) for key, value in block.items()}


def _deltas(block: Mapping[str, Any], render: Render) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    if kind == "text":
        for phrase in PHRASE.findall(block["text"]):
            yield {"type": "text_delta", "text": phrase}
    elif kind == "thinking":
        for phrase in PHRASE.findall(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": phrase}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif kind == "tool_use":
        arguments = next(call.arguments for id_, call in render.calls if id_ == block["id"])
        yield {"type": "input_json_delta", "partial_json": ""}
        if arguments != "{}":
            for fragment in FRAGMENT.findall(arguments):
                yield {"type": "input_json_delta", "partial_json": fragment}


def event(value: dict[str, Any], ids: Identifiers) -> bytes:
    """One SSE frame; the vendor pads the JSON with blanks before its last brace."""
    data = msgspec.json.encode(value)
    return b"event: %s\ndata: %s%s}\n\n" % (value["type"].encode(), data[:-1], ids.blank(14).encode())
