"""Mutated vendor responses: they yield deltas of an answer or a GatewayError."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Any

from gateway.billing.pricing import cost
from gateway.catalog import bundled
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta
from gateway.openai_api.error_classes import error_class
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import parse_chat
from gateway.upstreams.adapter import Chat
from gateway.upstreams.registry import adapters
from gateway.upstreams.sse import SSEReader
from tools.fuzz.answers import check_deltas
from tools.fuzz.mutations import insert_invalid_utf8, mutate_bytes, mutate_json, split
from tools.fuzz.recordings import Recording, any_recording
from tools.fuzz.target import BrokenPropertyError, Target

_ADAPTERS = adapters()
_MODELS = {
    "openai": "gpt-5",
    "xai": "grok-4.3",
    "bytedance": "seed-1.6",
    "nous": "hermes-4-70b",
    "anthropic": "claude-haiku-4-5",
    "google": "gemini-2.5-flash",
}
_PAINTERS = {"xai": "grok-imagine-image", "bytedance": "seedream-4.0"}
_WAITS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"Retry-After": "7"},
    {"retry-after-ms": "250"},
    {"Retry-After": "nan"},
    {"Retry-After": "-1"},
    {"Retry-After": "9" * 400},
    {"Retry-After": "Mon, 01 Jan 0001 00:00:00 +2359"},
    {"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359"},
    {"Retry-After": "\u00b2"},
)
_TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
_DAY = date(2026, 11, 22)


@dataclass(frozen=True)
class Reply:
    """A vendor's response, in pieces if it is a stream."""

    recording: Recording
    pieces: list[bytes]
    json_mode: bool
    headers: dict[str, str]


def _make(random: Random) -> Reply:
    recording = any_recording(random)
    body = recording.body
    for _ in range(random.randrange(1, 4)):
        body = mutate_events(random, body) if recording.stream else _mutate_body(random, body)
    if random.random() < 0.2:
        body = mutate_bytes(random, body, random.randint(1, 3))
    elif random.random() < 0.1:
        body = insert_invalid_utf8(random, body)
    return Reply(recording, split(random, body), random.random() < 0.3, random.choice(_WAITS))


def _mutate_body(random: Random, body: bytes) -> bytes:
    try:
        return json.dumps(mutate_json(random, json.loads(body))).encode()
    except (ValueError, RecursionError):
        return body


def mutate_events(random: Random, body: bytes) -> bytes:
    """One event mutated, removed, duplicated, or moved to the end."""
    separator = b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n\n"
    events = body.split(separator)
    place = random.randrange(len(events))
    match random.randrange(6):
        case 0:
            del events[place]
        case 1:
            events.insert(place, events[place])
        case 2:
            events.append(events.pop(place))
        case _:
            head, mark, data = events[place].partition(b"data: ")
            events[place] = head + mark + _mutate_body(random, data)
    return separator.join(events)


def _check(reply: Reply) -> None:
    recording = reply.recording
    body = b"".join(reply.pieces)
    chat = _chat(recording, json_mode=reply.json_mode)
    adapter = _ADAPTERS[recording.provider][recording.endpoint]
    error = adapter.decode_error(recording.status if recording.status != 200 else 500, reply.headers, body)
    blamed = error.status in (401, 402) or (error.status == 403 and error_class(error) != "upstream_region")
    if blamed or not 400 <= error.status < 600:
        raise BrokenPropertyError(f"a vendor's error becomes {error.status}")
    if error.retry_after is not None and not 0 <= error.retry_after < 10**12:
        raise BrokenPropertyError(f"to be asked again in {error.retry_after} s")
    json.loads(error.body())
    try:
        deltas = list(_streamed(reply, chat)) if recording.stream else list(adapter.decode_response(chat, body))
    except GatewayError:
        return
    check_deltas(deltas)
    _check_bill(deltas, chat)


def _streamed(reply: Reply, chat: Chat) -> Iterator[Delta]:
    reader = SSEReader()
    decoder = _ADAPTERS[reply.recording.provider]["chat"].decoder(chat)
    for piece in reply.pieces:
        for event in reader.feed(piece):
            yield from decoder.feed(event)
    for event in reader.close():
        yield from decoder.feed(event)
    yield from decoder.finish()


def _check_bill(deltas: list[Delta], chat: Chat) -> None:
    assembler = Assembler()
    assembler.extend(deltas)
    if any(reason is None for reason in assembler.finish_reasons().values()):
        raise BrokenPropertyError("a complete answer has a choice without a finish reason")
    if assembler.usage is not None and cost(chat.model, assembler.usage, _DAY) < 0:
        raise BrokenPropertyError(f"a negative price for {assembler.usage}")


def _chat(recording: Recording, *, json_mode: bool) -> Chat:
    models = _MODELS if recording.endpoint == "chat" else _PAINTERS
    model = bundled().find(models[recording.provider])
    body: dict[str, Any] = {"model": model.id, "messages": [{"role": "user", "content": "JSON"}]}
    body |= {"stream": recording.stream, "tools": [_TOOL]}
    if json_mode:
        body["response_format"] = {"type": "json_object"}
    return Chat(body, parse_chat(body), model)


VENDOR_ANSWERS = Target("vendor-answers", _make, _check)
