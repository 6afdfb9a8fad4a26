"""Request bodies: decoded, hashed and translated for any model, or refused with a 4xx."""

import json
from random import Random
from typing import Any

from gateway.billing.usage_estimate import prompt_tokens
from gateway.catalog import bundled
from gateway.envelope import canonical_chat_request, canonical_completion_request
from gateway.openai_api.checks import check
from gateway.openai_api.completion import chat_bodies, parse_completion
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.json_body import decode
from gateway.openai_api.legacy_functions import functions_to_tools
from gateway.openai_api.request import parse_chat
from gateway.upstreams.adapter import Attachment, Chat
from gateway.upstreams.registry import adapters
from tools.fuzz.mutations import json_value, mutate_bytes, mutate_json
from tools.fuzz.target import BrokenPropertyError, Target
from tools.fuzz.valid_requests import chat_body

_ADAPTERS = adapters()
_PIXEL = Attachment("image/png", b"\x89PNG\r\n\x1a\n" + b"\x00" * 16)
_MODELS = sorted(bundled().models)


def _make_chat(random: Random) -> bytes:
    body = chat_body(random, random.choice(_MODELS))
    return _encoded(random, mutate_json(random, body, random.randrange(4)))


def _make_completion(random: Random) -> bytes:
    body: dict[str, Any] = {
        "model": random.choice(_MODELS),
        "prompt": random.choice(("Once", ["a", "b"], [1, 2], [[1]], [])),
        "max_tokens": 5,
        "n": 2,
        "stop": ["x"],
        "temperature": 0.5,
        "echo": True,
    }
    for name in random.sample(sorted(body), random.randrange(3)):
        del body[name]
    return _encoded(random, mutate_json(random, body, random.randrange(4)))


def _encoded(random: Random, value: Any) -> bytes:
    data = json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    return mutate_bytes(random, data, random.randint(1, 3)) if random.random() < 0.2 else data


def _check_chat(raw: bytes) -> None:
    try:
        sent = decode(raw)
        body = functions_to_tools(sent)
        request = parse_chat(body)
        check(request)
        model = bundled().find(request.model)
    except GatewayError as error:
        _check_refusal(error)
        return
    _check_canonical(canonical_chat_request(sent))
    if prompt_tokens(sent) < 0:
        raise BrokenPropertyError("a prompt of less than nothing")
    _translate(Chat(body, request, model))


def _check_completion(raw: bytes) -> None:
    try:
        sent = decode(raw)
        request = parse_completion(sent)
        model = bundled().find(request.model)
        chats = [Chat(body, parse_chat(body), model) for body in chat_bodies(sent, request)]
    except GatewayError as error:
        _check_refusal(error)
        return
    _check_canonical(canonical_completion_request(sent))
    for chat in chats:
        _translate(chat)


def _translate(chat: Chat) -> None:
    adapter = _ADAPTERS[chat.model.provider][chat.model.endpoint]
    try:
        chat.attachments.update(dict.fromkeys(adapter.remote_files(chat), _PIXEL))
        call = adapter.build_request(chat)
    except GatewayError as error:
        _check_refusal(error)
        return
    if not isinstance(json.loads(call.body), dict):
        raise BrokenPropertyError("the upstream request is not a JSON object")


def _check_canonical(canonical: bytes) -> None:
    if not canonical.isascii() or json.dumps(json.loads(canonical), sort_keys=True).encode() != canonical:
        raise BrokenPropertyError("the canonical request is not canonical")


def _check_refusal(error: GatewayError) -> None:
    if error.status not in (400, 404):
        raise BrokenPropertyError(f"a bad request is answered with {error.status}")
    json.loads(error.body())


_DEEP = (b"[" * 200, b"[" * 5000, b'{"a":' * 5000, b"[" * 99 + b"]" * 99, b"[" * 5000 + b"]" * 5000)


def _make_garbage(random: Random) -> bytes:
    if random.random() < 0.02:
        return b'{"model":"gpt-5","messages":' + random.choice(_DEEP) + b"}"
    if random.random() < 0.5:
        return json.dumps(json_value(random)).encode()
    return mutate_bytes(random, b'{"model":"gpt-5","messages":[{"role":"user","content":"Hi"}]}', random.randint(1, 9))


CHAT_REQUESTS = Target("chat-requests", _make_chat, _check_chat)
COMPLETION_REQUESTS = Target("completion-requests", _make_completion, _check_completion)
GARBAGE_REQUESTS = Target("garbage-requests", _make_garbage, _check_chat)
