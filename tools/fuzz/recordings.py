"""Vendors' answers to mangle: short ones written here, and the recorded ones where ../shared is."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TRANSCRIPTS = Path(__file__).parent.parent.parent.parent / "shared" / "transcripts"
_LARGEST = 60_000


@dataclass(frozen=True)
class Recording:
    """One answer of a vendor: an event stream, or a whole body."""

    provider: str
    status: int
    stream: bool
    body: bytes


def _frames(*chunks: object, ending: bytes = b"data: [DONE]\n\n", separator: bytes = b"\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + separator for chunk in chunks) + ending


def _named(*events: dict[str, object]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
_OPENAI = _frames(
    {"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "", "refusal": None}}]},
    {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": None}]},
    {
        "choices": [
            {"index": 0, "delta": {"content": "<think>a</think>b"}, "logprobs": {"content": [], "refusal": None}}
        ]
    },
    {"choices": [{"index": 0, "delta": {"tool_calls": [_CALL]}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}}]},
    {"choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": "length"}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {
        "choices": [],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 3,
            "total_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 8},
        },
    },
)
_MESSAGE: dict[str, object] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
}
_ANTHROPIC = _named(
    {"type": "message_start", "message": {**_MESSAGE, "usage": {"input_tokens": 9, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "Eq"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "ping"},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "```json\n{}\n```"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 15}},
    {"type": "message_stop"},
)
_GEMINI = _frames(
    {"candidates": [{"content": {"role": "model", "parts": [{"text": "hm", "thought": True}]}}], "modelVersion": "m"},
    {
        "candidates": [
            {"content": {"parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}}
        ]
    },
    {
        "candidates": [
            {
                "content": {"parts": [{"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "Cp"}]},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 2},
    },
    ending=b"",
    separator=b"\r\n\r\n",
)
_ERRORS = {
    "openai": {"error": {"message": "Odd", "type": "invalid_request_error", "param": "stop", "code": "x"}},
    "xai": {"code": "invalid-argument", "error": "Odd"},
    "anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    "google": {
        "error": {"code": 429, "message": "Odd", "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "48s"}]}
    },
    "bytedance": {"error": {"code": "ServerOverloaded", "message": "Odd", "param": "", "type": "x"}},
    "nous": {"x402Version": 1, "accepts": [], "error": "pay"},
}


@cache
def recordings() -> tuple[Recording, ...]:
    """All there are; the same ones in the same order wherever ../shared is the same."""
    shapes = dict.fromkeys(("openai", "xai", "bytedance", "nous"), _OPENAI)
    shapes |= {"anthropic": _ANTHROPIC, "google": _GEMINI}
    written = [Recording(provider, 200, True, body) for provider, body in shapes.items()]
    written += [Recording(provider, 400, False, json.dumps(error).encode()) for provider, error in _ERRORS.items()]
    return (*written, *_recorded())


def _recorded() -> list[Recording]:
    found = []
    for path in sorted(TRANSCRIPTS.glob("*/*.json")):
        transcript = json.loads(path.read_text(encoding="utf-8"))
        response = transcript["response"]
        body = json.dumps(response["json"]) if "json" in response else response.get("body", response.get("text", ""))
        if body and len(body) <= _LARGEST:
            stream = "body" in response and not response.get("framing")
            found.append(Recording(transcript["provider"], response["status"] or 200, stream, body.encode()))
    return found
