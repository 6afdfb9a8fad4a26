"""Saved answers of a running gateway verify; every altered byte of their content fails."""

from typing import Any

import aiohttp
import pytest

from tests.running_gateway import RunningGateway
from tools.verify.claims import Verdict
from tools.verify.response import CLAIMS, read_answer, verify_response
from tools.verify.signing_key import SigningKey, load_signing_key

Json = Any

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CHAT = {"messages": [{"role": "system", "content": "kurz"}, {"role": "user", "content": "Grüße ☀"}]}
REQUESTS: dict[str, tuple[str, Json]] = {
    "chat": ("/v1/chat/completions", {**CHAT, "max_tokens": 50, "temperature": 0.5}),
    "parts and stop": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "stop": ["END"]},
    ),
    "tools": ("/v1/chat/completions", {**CHAT, "tools": [WEATHER], "tool_choice": "required"}),
    "two choices": ("/v1/chat/completions", {**CHAT, "n": 2}),
    "completion": ("/v1/completions", {"prompt": "Once", "max_tokens": 20}),
}
STREAMS: dict[str, dict[str, Json]] = {
    "at once": {},
    "stream": {"stream": True},
    "usage": {"stream": True, "stream_options": {"include_usage": True}},
}


async def ask(gateway: RunningGateway, path: str, body: Json) -> bytes:
    response = await gateway.post(path, body)
    data = await response.read()
    assert response.status == 200, data
    return data


async def key_of(gateway: RunningGateway) -> SigningKey:
    async with aiohttp.ClientSession() as session, session.get(gateway.url + "/signing-key") as response:
        return load_signing_key(await response.read())


@pytest.mark.parametrize("form", STREAMS)
@pytest.mark.parametrize("name", REQUESTS)
async def test_answers_verify(gateway: RunningGateway, name: str, form: str) -> None:
    path, body = REQUESTS[name]
    request = {"model": "gpt-4.1", **body, **STREAMS[form]}
    data = await ask(gateway, path, request)
    claims = verify_response(await key_of(gateway), request, data)
    assert [(claim.name, claim.verdict) for claim in claims] == [(name, Verdict.PASS) for name in CLAIMS], claims
    finish_reasons = {choice["finish_reason"] for choice in read_answer(data)["choices"]}
    assert ("tool_calls" in finish_reasons) == (name == "tools")


def first_word(data: bytes, answer: Json) -> bytes:
    """The first word of the answer's text, as encoded in ``data``."""
    text: str = answer["choices"][0]["message"]["content"]
    return text.split(maxsplit=1)[0].encode()


@pytest.mark.parametrize("form", STREAMS)
async def test_a_touched_text_fails(gateway: RunningGateway, form: str) -> None:
    request = {"model": "gpt-4.1", **CHAT, **STREAMS[form]}
    data = await ask(gateway, "/v1/chat/completions", request)
    word = first_word(data, read_answer(data))
    touched = data.replace(word, word.swapcase(), 1)
    assert touched != data
    claims = verify_response(await key_of(gateway), request, touched)
    assert [claim.name for claim in claims if claim.verdict is Verdict.FAIL] == ["output_hash"]
