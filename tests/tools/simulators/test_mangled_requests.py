"""Arbitrarily malformed requests: a simulator answers as its vendor would and never crashes."""

from typing import Any

import msgspec
import pytest

from tools.simulators import ReceivedRequest, Simulator
from tools.simulators.anthropic.vendor import Anthropic
from tools.simulators.chat_completions.modelark import ModelArk
from tools.simulators.chat_completions.nous import Nous
from tools.simulators.chat_completions.openai import OpenAI
from tools.simulators.chat_completions.xai import XAI
from tools.simulators.gemini.vendor import Gemini
from tools.simulators.vendor import Vendor

CHAT = {
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Now?"}]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "4"},
        {"role": "user", "content": "And now?"},
    ],
    "tools": [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}],
    "tool_choice": {"type": "function", "function": {"name": "now"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    "temperature": 0.5,
    "max_tokens": 50,
    "stream": True,
    "stream_options": {"include_usage": True},
}
MESSAGES = {
    "model": "claude-haiku-4-5",
    "max_tokens": 2000,
    "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "Now?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "now", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "4"}]}],
        },
    ],
    "tools": [{"name": "now", "input_schema": {"type": "object", "properties": {}}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}},
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u"},
    "thinking": {"type": "disabled"},
}
CONTENTS = {
    "systemInstruction": {"parts": [{"text": "x"}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Now?"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
        {"role": "model", "parts": [{"functionCall": {"id": "a", "name": "now", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "a", "name": "now", "response": {"output": 4}}}]},
    ],
    "tools": [{"functionDeclarations": [{"name": "now", "parametersJsonSchema": {"type": "object"}}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["now"]}},
    "generationConfig": {
        "maxOutputTokens": 50,
        "stopSequences": ["x"],
        "thinkingConfig": {"thinkingBudget": 512, "includeThoughts": True},
    },
}

BEARER = {"authorization": "Bearer any"}
CASES = [
    (OpenAI(), "/v1/chat/completions", {**CHAT, "model": "gpt-4.1"}, BEARER),
    (XAI(), "/v1/chat/completions", {**CHAT, "model": "grok-4.3"}, BEARER),
    (ModelArk(), "/api/v3/chat/completions", {**CHAT, "model": "seed-1-6-250915"}, BEARER),
    (Nous(), "/v1/chat/completions", {**CHAT, "model": "nousresearch/hermes-4-70b", "tags": ["user=test"]}, BEARER),
    (XAI(), "/v1/images/generations", {"model": "grok-imagine-image", "prompt": "x", "n": 1}, BEARER),
    (
        ModelArk(),
        "/api/v3/images/generations",
        {
            "model": "seedream-4-0-250828",
            "prompt": "x",
            "image": ["https://example.com/a.png"],
            "size": "2K",
            "sequential_image_generation": "auto",
            "sequential_image_generation_options": {"max_images": 2},
        },
        BEARER,
    ),
    (Anthropic(), "/v1/messages", MESSAGES, {"x-api-key": "any", "anthropic-version": "2023-06-01"}),
    (Gemini(), "/v1beta/models/gemini-2.5-flash:generateContent", CONTENTS, {"x-goog-api-key": "any"}),
]

ODD: list[Any] = [None, 0, -1, 1.5, True, "", "x", [], [None], [{}], {}, {"type": None}, {"type": "x"}]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += places(item, (*path, number))
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize(("vendor", "path", "body", "headers"), CASES, ids=lambda value: getattr(value, "name", ""))
def test_any_changed_value_is_answered_or_refused(
    vendor: Vendor, path: str, body: Any, headers: dict[str, str]
) -> None:
    simulator = Simulator(vendor)
    for place in places(body):
        for odd in ODD:
            mangled = msgspec.json.encode(replaced(body, place, odd))
            reply = simulator.respond(ReceivedRequest("POST", path, headers, mangled, 0.0))
            assert reply.status in (200, 400, 404, 422), (place, odd, reply.events)
            assert reply.events


def test_the_unchanged_requests_are_good() -> None:
    for vendor, path, body, headers in CASES:
        reply = Simulator(vendor).respond(ReceivedRequest("POST", path, headers, msgspec.json.encode(body), 0.0))
        assert reply.status == 200, reply.events
