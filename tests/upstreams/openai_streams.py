"""Handwritten streams and answers of an OpenAI-shaped vendor, and their decoding."""

import json
from typing import Any

import pytest

from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import GatewayError
from tests.upstreams.decoding import put_together
from tests.upstreams.openai_chats import adapter, chat, streamed

DONE = b"data: [DONE]\n\n"


def chunk(choices: list[dict[str, Any]], **fields: Any) -> bytes:
    return b"data: " + json.dumps({"choices": choices, **fields}).encode() + b"\n\n"


def piece(index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    return chunk([{"index": index, "delta": delta, "finish_reason": finish}])


def choices(stream: bytes, model: str = "gpt-4.1") -> list[dict[str, Any]]:
    return put_together(streamed(chat(model), stream)).choices()


def message(stream: bytes, model: str = "gpt-4.1") -> dict[str, Any]:
    [choice] = choices(stream, model)
    found: dict[str, Any] = choice["message"]
    return found


def whole(answer: Any, model: str = "gpt-4.1") -> list[Delta]:
    bound = chat(model)
    return list(
        adapter(bound).decode_response(bound, answer if isinstance(answer, bytes) else json.dumps(answer).encode())
    )


def failure(stream: bytes, model: str = "gpt-4.1") -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        streamed(chat(model), stream)
    return caught.value


END = piece(finish="stop") + DONE


def start(index: int | None, name: str, arguments: str = "", call: str | None = None) -> dict[str, Any]:
    body = {"id": call or f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return body if index is None else {"index": index, **body}


def more(index: int | None, arguments: str) -> dict[str, Any]:
    body = {"function": {"arguments": arguments}}
    return body if index is None else {"index": index, **body}
