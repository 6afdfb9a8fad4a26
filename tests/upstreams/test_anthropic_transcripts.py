"""Recorded exchanges with Anthropic, replayed; the expectations are read with ``json`` alone."""

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.catalog import Model, bundled
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import parse_chat
from gateway.upstreams.adapter import Chat
from tests.upstreams.anthropic_chats import adapter, as_stream, sent
from tests.upstreams.decoding import put_together, read_stream

FOLDER = Path(__file__).parents[3] / "shared" / "transcripts" / "anthropic"
RECORDINGS = sorted(FOLDER.glob("*.json"))

pytestmark = pytest.mark.skipif(not RECORDINGS, reason=f"no recordings in {FOLDER.name}/ beside the repository")


def load(path: Path) -> dict[str, Any]:
    recording: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return recording


def model_of(recording: dict[str, Any]) -> Model:
    """The catalogue's model; for one that it lacks, an equivalent older one."""
    return bundled().get(recording["model"]) or bundled().find("claude-haiku-4-5")


def bound(recording: dict[str, Any]) -> Chat:
    model = model_of(recording)
    body = {"model": model.id, "messages": [{"role": "user", "content": "Hi"}]}
    return Chat(body=body, request=parse_chat(body), model=model)


def stream_of(response: dict[str, Any]) -> bytes | None:
    if "body" not in response:
        return None
    if "framing" in response:
        return as_stream(json.loads(line) for line in response["body"].splitlines())
    body: str = response["body"]
    return body.encode()


def events_of(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in stream.decode().splitlines() if line.startswith("data:")]


def blocks_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The content blocks of a stream, in the order in which they began."""
    blocks: list[dict[str, Any]] = []
    current: dict[int, dict[str, Any]] = {}
    keys = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
    for event in events:
        if event["type"] == "content_block_start":
            current[event["index"]] = block = dict(event["content_block"])
            blocks.append(block)
        elif event["type"] == "content_block_delta":
            block, delta = current[event["index"]], event["delta"]
            if delta["type"] == "input_json_delta":
                block["input"] = (block["input"] or "") + delta["partial_json"]
            else:
                key = keys[delta["type"]]
                block[key] = block.get(key, "") + delta[key]
    return blocks


def usage_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for event in events:
        found = event.get("usage") or event.get("message", {}).get("usage") or {}
        counts |= {name: value for name, value in found.items() if value is not None}
    return counts


def check(assembled: Assembler, blocks: list[dict[str, Any]], stop_reason: str, usage: dict[str, Any]) -> None:
    choice = assembled.choices()[0]
    message = choice["message"]
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    assert (message["content"] or "") == text
    check_calls(message.get("tool_calls", []), [block for block in blocks if block["type"] == "tool_use"])
    check_thoughts(message, [block for block in blocks if "thinking" in block["type"]])
    expected = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length", "refusal": "content_filter"}
    assert choice["finish_reason"] == expected[stop_reason]
    assert bool(message["refusal"]) is (stop_reason == "refusal")

    counted = assembled.usage
    assert counted is not None
    cached, written = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
    assert counted.prompt_tokens == usage["input_tokens"] + cached + written
    assert counted.cached_tokens == cached
    assert counted.cache_write_tokens + counted.cache_write_1h_tokens == written
    assert counted.completion_tokens == usage["output_tokens"]
    assert counted.total_tokens == counted.prompt_tokens + counted.completion_tokens


def check_calls(calls: list[dict[str, Any]], blocks: list[dict[str, Any]]) -> None:
    assert [call["id"] for call in calls] == [block["id"] for block in blocks]
    assert [call["function"]["name"] for call in calls] == [block["name"] for block in blocks]
    for call, block in zip(calls, blocks, strict=True):
        arguments = json.loads(call["function"]["arguments"])
        assert isinstance(arguments, dict)
        if isinstance(block["input"], str):
            assert call["function"]["arguments"].startswith(block["input"])
        else:
            assert arguments == block["input"]


def check_thoughts(message: dict[str, Any], blocks: list[dict[str, Any]]) -> None:
    details = message.get("reasoning_details", [])
    assert message.get("reasoning_content", "") == "".join(block.get("thinking", "") for block in blocks)
    assert [detail["index"] for detail in details] == list(range(len(blocks)))
    for detail, block in zip(details, blocks, strict=True):
        assert detail.get("data") == block.get("data")
        assert detail.get("signature") == (block.get("signature") or None)
        assert detail.get("text", "") == block.get("thinking", "")
        assert detail["format"] == "anthropic-claude-v1"


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_an_answer_is_read_as_it_was_recorded(path: Path) -> None:
    recording = load(path)
    response = recording["response"]
    if (stream := stream_of(response)) is not None:
        check_stream(recording, stream)
    elif response["status"] in (200, None):
        message = response["json"]
        assembled = put_together(adapter().decode_response(bound(recording), json.dumps(message).encode()))
        check(assembled, message["content"], message["stop_reason"], message["usage"])
        assert assembled.metadata.model == message["model"]
    else:
        check_error(recording)


def check_stream(recording: dict[str, Any], stream: bytes) -> None:
    events = events_of(stream)
    cuts = random.Random(recording["model"]).choices(range(len(stream)), k=len(stream) // 3)
    if events[-1]["type"] == "error":
        with pytest.raises(GatewayError) as caught:
            list(read_stream(adapter().decoder(bound(recording)), stream, cuts))
        assert (caught.value.status, caught.value.code) == (503, "upstream_overloaded")
        return
    stop_reason = next(event["delta"]["stop_reason"] for event in events if event["type"] == "message_delta")
    whole = put_together(read_stream(adapter().decoder(bound(recording)), stream))
    check(whole, blocks_of(events), stop_reason, usage_of(events))
    cut = put_together(read_stream(adapter().decoder(bound(recording)), stream, cuts))
    assert (cut.choices(), cut.usage, cut.metadata) == (whole.choices(), whole.usage, whole.metadata)
    assert whole.metadata.id == next(event["message"]["id"] for event in events if event["type"] == "message_start")
    for length in range(0, len(stream) - 30, max(1, len(stream) // 40)):
        with pytest.raises(GatewayError, match="ended before it was complete"):
            list(read_stream(adapter().decoder(bound(recording)), stream[: stream.rfind(b"\n\n", 0, length) + 2]))


def check_error(recording: dict[str, Any]) -> None:
    response = recording["response"]
    body = json.dumps(response["json"]).encode()
    error = adapter().decode_error(response["status"], response["headers"], body)
    words = response["json"]["error"]["message"]
    if response["status"] == 401:
        assert (error.status, error.code) == (502, "upstream_auth_failed")
        assert words not in error.message
        return
    assert error.status == 400
    assert error.message == words
    assert error.code == ("context_length_exceeded" if "too long" in words else None)


@pytest.mark.parametrize("path", [path for path in RECORDINGS if load(path)["request"]], ids=lambda path: path.stem)
def test_the_recorded_conversation_is_sent_again(path: Path) -> None:
    """Anthropic's recorded messages, rewritten in OpenAI's shape by hand, come out as they were recorded."""
    recording = load(path)
    request = recording["request"]["json"]
    model = model_of(recording)
    body = {"model": model.id, "max_tokens": request["max_tokens"], **openai_shape(request)}
    again = sent(Chat(body=body, request=parse_chat(body), model=model))
    assert again["max_tokens"] == request["max_tokens"]
    assert [turn["role"] for turn in again["messages"]] == [turn["role"] for turn in request["messages"]]
    for turn, recorded in zip(again["messages"], request["messages"], strict=True):
        assert turn["content"] == [plain(block) for block in recorded["content"]]
    assert again.get("thinking") == request.get("thinking")
    assert again.get("cache_control") == request.get("cache_control")
    recorded_schema = request.get("output_config", {}).get("format")
    assert again.get("output_config", {}).get("format") == recorded_schema
    assert [tool["name"] for tool in again.get("tools", [])] == [tool["name"] for tool in request.get("tools", [])]
    for tool, recorded in zip(again.get("tools", []), request.get("tools", []), strict=True):
        assert tool["input_schema"] == recorded["input_schema"]


def plain(block: dict[str, Any]) -> dict[str, Any]:
    """A recorded block as we write it: without a false ``is_error``."""
    return {key: value for key, value in block.items() if not (key == "is_error" and value is False)}


def openai_shape(request: dict[str, Any]) -> dict[str, Any]:
    system = request.get("system", [])
    system = system if isinstance(system, str) else "".join(block["text"] for block in system)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for turn in request["messages"]:
        messages += list(openai_messages(turn))
    shaped: dict[str, Any] = {"messages": messages, "stream": bool(request.get("stream"))}
    if tools := request.get("tools"):
        shaped["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool["name"],
                    "description": tool.get("description"),
                    "parameters": tool["input_schema"],
                    "strict": tool.get("strict"),
                },
            }
            for tool in tools
        ]
    if wanted := request.get("output_config", {}).get("format"):
        schema = {"name": "answer", "schema": wanted["schema"], "strict": True}
        shaped["response_format"] = {"type": "json_schema", "json_schema": schema}
    for key in ("thinking", "cache_control"):
        if key in request:
            shaped[key] = request[key]
    return shaped


def openai_messages(turn: dict[str, Any]) -> Any:
    blocks = turn["content"]
    parts = [part for block in blocks if (part := openai_part(block))]
    if turn["role"] == "assistant":
        calls = [
            {
                "id": block["id"],
                "type": "function",
                "function": {"name": block["name"], "arguments": msgspec.json.encode(block["input"]).decode()},
            }
            for block in blocks
            if block["type"] == "tool_use"
        ]
        yield {"role": "assistant", "content": parts or None, **({"tool_calls": calls} if calls else {})}
        return
    for block in blocks:
        if block["type"] == "tool_result":
            content = block["content"]
            yield {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content}
    if parts:
        yield {"role": "user", "content": parts}


def openai_part(block: dict[str, Any]) -> dict[str, Any] | None:
    match block["type"]:
        case "text":
            return {"type": "text", "text": block["text"]}
        case "image":
            return {"type": "image_url", "image_url": {"url": block["source"]["url"]}}
    return None
