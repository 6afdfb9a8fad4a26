"""Vendor responses to mutate: short ones defined here, and the recordings in ../shared if present."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

TRANSCRIPTS = Path(__file__).parent.parent.parent.parent / "shared" / "transcripts"
_LARGEST = 60_000


@dataclass(frozen=True)
class Recording:
    """One answer of a vendor's endpoint (``chat`` or ``images``): an event stream, or a whole body."""

    provider: str
    status: int
    stream: bool
    body: bytes
    endpoint: str = "chat"


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
_USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "service_tier": "default"}
_WHOLE: dict[str, dict[str, object]] = {
    "openai": {
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "<think>a</think>b",
                    "reasoning_content": "hm",
                    "refusal": None,
                    "annotations": [],
                    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
            }
        ],
        "usage": _USAGE,
    },
    "anthropic": {
        **_MESSAGE,
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "Eq"},
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 9, "output_tokens": 15, "cache_read_input_tokens": 2},
    },
    "google": {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4},
        "modelVersion": "m",
    },
}
_PICTURES = {
    "xai": {"data": [{"b64_json": "iVBORw0KGgoAAAANSUhEUg==", "revised_prompt": "a"}, {"url": "https://i.example/a"}]},
    "bytedance": {
        "model": "m",
        "data": [{"b64_json": "/9j/4AAQSkZJRgABAQEA", "size": "1x1"}, {"error": {"code": "x", "message": "Odd"}}],
        "usage": {"generated_images": 1, "output_tokens": 4, "total_tokens": 4},
    },
}
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


def any_recording(random: Random) -> Recording:
    """A recording drawn evenly over providers, endpoints and forms."""
    return random.choice(random.choice(_grouped()))


@cache
def _grouped() -> list[list[Recording]]:
    groups: dict[tuple[str, str, bool], list[Recording]] = {}
    for recording in recordings():
        groups.setdefault((recording.provider, recording.endpoint, recording.stream), []).append(recording)
    return list(groups.values())


@cache
def recordings() -> tuple[Recording, ...]:
    """All recordings, in an order that depends on ../shared only."""
    shapes = dict.fromkeys(("openai", "xai", "bytedance", "nous"), _OPENAI)
    shapes |= {"anthropic": _ANTHROPIC, "google": _GEMINI}
    written = [Recording(provider, 200, True, body) for provider, body in shapes.items()]
    whole = {**dict.fromkeys(shapes, _WHOLE["openai"]), **_WHOLE}
    written += [Recording(provider, 200, False, json.dumps(body).encode()) for provider, body in whole.items()]
    written += [Recording(provider, 400, False, json.dumps(error).encode()) for provider, error in _ERRORS.items()]
    for provider, pictures in _PICTURES.items():
        written.append(Recording(provider, 200, False, json.dumps(pictures).encode(), "images"))
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
