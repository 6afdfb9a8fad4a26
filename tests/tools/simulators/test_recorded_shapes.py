"""Every key of a recorded answer is in the simulator's answer of the same kind; recordings are replayed unchanged."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.recorded import load
from tests.tools.simulators.clients import HttpClient
from tools.simulators import directive
from tools.simulators.transcripts import replay

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
ASK = "The weather in Oslo?"
USAGE = {"stream": True, "stream_options": {"include_usage": True}}

NOT_SIMULATED = {
    "choices.message.annotations",
    "system_fingerprint",
    "usage.prompt_tokens_details.text_tokens",
    "usage.prompt_tokens_details.image_tokens",
    "usage.prompt_tokens_details.cache_write_tokens",
    "usage.completion_tokens_details.text_tokens",
    "moderation",
}
"""Seen on models or requests that are not simulated."""


def keys(value: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of every key, lists included; free-form arguments are left out."""
    if isinstance(value, list):
        for item in value:
            yield from keys(item, prefix)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield f"{prefix}{name}"
            if name not in ("args", "input"):
                yield from keys(item, f"{prefix}{name}.")


def payloads(body: str) -> list[Any]:
    lines = (line.removeprefix("data: ").strip() for line in body.splitlines() if line.startswith("data: "))
    return [json.loads(line) for line in lines if line != "[DONE]"]


CHAT: dict[str, tuple[str, dict[str, Any]]] = {
    "openai/pai-multiple-agent-tool-calls-3.json": ("openai", {}),
    "openai/pai-openai-tool-output-0.json": ("openai", {"tools": CHAT_TOOLS}),
    "openai/rbl-chat-vision-models-openai-gpt-5-nano-can-understand-local-images.json": ("openai", {"model": "gpt-5"}),
    "openai/pai-run-stream-sync-streams-real-model-0.json": ("openai", {"tools": CHAT_TOOLS, **USAGE}),
    "openai/rbl-chat-function-calling-openai-gpt-5-nano-can-use-tools-with-multi-turn-streaming-conversations-0.json": (
        "openai",
        {"model": "gpt-5", "tools": CHAT_TOOLS, **USAGE},
    ),
    "xai/rbl-chat-function-calling-xai-grok-4-1-fast-non-reasoning-can-use-parallel-tool-calls-1-2.json": ("xai", {}),
    "xai/rbl-chat-function-calling-xai-grok-4-1-fast-non-reasoning-can-use-tools-with-multi-turn-streaming-conversations-0-2"
    ".json": ("xai", {"tools": CHAT_TOOLS, **USAGE}),
}


@pytest.mark.parametrize("name", list(CHAT))
async def test_chat_completions_have_the_recorded_keys(http: HttpClient, name: str) -> None:
    vendor, fields = CHAT[name]
    recorded = load(name)["response"]
    response = await http.chat(vendor, messages=[{"role": "user", "content": ASK}], **fields)
    assert response.status == 200, response.body
    if fields.get("stream"):
        expected, found = set(keys(payloads(recorded["body"]))), set(keys(payloads(response.body.decode())))
    else:
        expected, found = set(keys(recorded["json"])), set(keys(response.json))
    assert expected - found <= NOT_SIMULATED


async def test_a_first_chunk_is_spelt_as_recorded(http: HttpClient) -> None:
    name = "openai/pai-run-stream-sync-streams-real-model-0.json"
    recorded = payloads(load(name)["response"]["body"])
    response = await http.chat(
        "openai",
        messages=[{"role": "user", "content": ASK}],
        tools=CHAT_TOOLS,
        stream=True,
        stream_options=USAGE["stream_options"],
    )
    simulated = payloads(response.body.decode())
    for theirs, ours in ((recorded[0], simulated[0]), (recorded[1], simulated[1]), (recorded[-2], simulated[-2])):
        assert list(ours["choices"][0]) == list(theirs["choices"][0])
        assert ours["choices"][0]["delta"].keys() == theirs["choices"][0]["delta"].keys()
    assert list(simulated[-1]["usage"]) == list(recorded[-1]["usage"])


ANTHROPIC: dict[str, dict[str, Any]] = {
    "anthropic/pai-anthropic-opus-46-features-basic.json": {"model": "claude-opus-4-6"},
    "anthropic/rbl-chat-function-calling-anthropic-claude-haiku-4-5-can-use-parallel-tool-calls-0.json": {
        "tools": [{"name": "weather", "input_schema": CITY}]
    },
    "anthropic/pai-anthropic-deferred-capability-without-tool-search-across-models-claude-fable-5-0.json": {
        "model": "claude-fable-5",
        "tools": [{"name": "weather", "input_schema": CITY}],
    },
    "anthropic/rbl-chat-function-calling-anthropic-claude-haiku-4-5-can-use-tools-with-multi-turn-streaming-conversations-1"
    ".json": {"stream": True},
}


@pytest.mark.parametrize("name", list(ANTHROPIC))
async def test_messages_have_the_recorded_keys(http: HttpClient, name: str) -> None:
    recorded = load(name)["response"]
    response = await http.messages(messages=[{"role": "user", "content": ASK}], **ANTHROPIC[name])
    if "body" in recorded:
        for event in ("message_start", "content_block_start", "content_block_delta", "message_delta"):
            theirs = next(payload for payload in payloads(recorded["body"]) if payload["type"] == event)
            ours = next(payload for payload in payloads(response.body.decode()) if payload["type"] == event)
            assert set(keys(theirs)) <= set(keys(ours))
        assert b'event: ping\ndata: {"type":"ping"' in response.body
    else:
        assert set(keys(recorded["json"])) <= set(keys(response.json))


GOOGLE: dict[str, tuple[str, dict[str, Any]]] = {
    "google/pai-google-model.json": ("gemini-2.5-flash", {}),
    "google/pai-google-model-gemini-3-5-flash.json": ("gemini-3.5-flash", {}),
    "google/pai-google-instructions-only-with-tool-calls-1.json": (
        "gemini-3-flash-preview",
        {"tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": CITY}]}]},
    ),
    "google/pai-google-stream-usage-is-live-mid-stream.json": ("gemini-2.5-flash", {"stream": True}),
    "google/pai-google-streaming-tool-call-thought-signature-1.json": ("gemini-3.1-pro-preview", {"stream": True}),
    "google/pai-google-image-or-text-output-1.json": ("gemini-2.5-flash-image", {}),
}


@pytest.mark.parametrize("name", list(GOOGLE))
async def test_generated_content_has_the_recorded_keys(http: HttpClient, name: str) -> None:
    model, fields = GOOGLE[name]
    recorded = load(name)["response"]
    body = {"contents": [{"parts": [{"text": ASK}]}], **{k: v for k, v in fields.items() if k != "stream"}}
    method = "streamGenerateContent?alt=sse" if fields.get("stream") else "generateContent"
    response = await http.post("google", f"/v1beta/models/{model}:{method}", body)
    if "body" in recorded:
        expected, found = set(keys(payloads(recorded["body"]))), set(keys(payloads(response.body.decode())))
    else:
        expected, found = set(keys(recorded["json"])), set(keys(response.json))
    assert expected <= found


ERRORS: dict[str, str] = {
    "openai/eag-chat-unknown-model.json": "model_not_found",
    "xai/rbl-chat-error-handling-with-xai-grok-4-1-fast-non-reasoning-raises-appropriate-auth-error.json": "bad_key",
    "anthropic/rbl-chat-error-handling-with-anthropic-claude-haiku-4-5-raises-appropriate-auth-error.json": "bad_key",
    "google/rbl-chat-error-handling-with-gemini-gemini-2-5-flash-raises-appropriate-auth-error.json": "bad_key",
    "google/issue-503-high-demand.json": "overloaded",
    "google/vai-google-429-retry-info-json.json": "rate_limit",
}


@pytest.mark.parametrize("name", list(ERRORS))
async def test_errors_have_the_recorded_shape(http: HttpClient, name: str) -> None:
    transcript = load(name)
    vendor = transcript["provider"]
    text = directive({"error": ERRORS[name], "retry_after": "34.4"})
    if vendor == "anthropic":
        result = await http.messages(messages=[{"role": "user", "content": text}])
    elif vendor == "google":
        result = await http.generate(contents=[{"parts": [{"text": text}]}])
    else:
        result = await http.chat(vendor, messages=[{"role": "user", "content": text}])
    recorded = transcript["response"]
    assert result.status == (recorded["status"] or 429)
    assert set(keys(recorded["json"])) == set(keys(result.json))


OPENAI_ERRORS: dict[str, dict[str, Any]] = {
    "openai/eag-chat-bad-request.json": {"model": "gpt-5", "max_tokens": 5},
    "openai/eag-chat-no-messages.json": {"messages": []},
    "openai/pai-openai-web-search-tool-model-not-supported.json": {"web_search_options": {}},
    "openai/eag-chat-unknown-model.json": {"model": "gpt-4.1-nano-wrong"},
}


@pytest.mark.parametrize("name", list(OPENAI_ERRORS))
async def test_openais_refusals_are_word_for_word(http: HttpClient, name: str) -> None:
    recorded = load(name)["response"]
    response = await http.chat("openai", **OPENAI_ERRORS[name])
    assert response.status == recorded["status"]
    recorded_error = recorded["json"]["error"]
    assert response.json["error"] == {**recorded_error, "param": response.json["error"]["param"]}
    assert recorded_error["param"] in (response.json["error"]["param"], None)


async def test_every_recording_replays_byte_for_byte(http: HttpClient) -> None:
    index = load("index.json")
    assert index["count"] == len(index["entries"])
    for entry in index["entries"]:
        transcript = load(entry["file"])
        simulator = http.fleet.simulators[entry["provider"]]
        simulator.enqueue(replay(transcript, piece=4096))
        async with http.session.post(simulator.origin + "/anything", json={}) as response:
            body = await response.read()
        recorded = transcript["response"]
        assert response.status == (recorded["status"] or recorded.get("json", {}).get("error", {}).get("code", 200))
        if "json" in recorded:
            assert json.loads(body) == recorded["json"]
        elif "body" in recorded and "framing" not in recorded:
            assert body.decode() == recorded["body"]
