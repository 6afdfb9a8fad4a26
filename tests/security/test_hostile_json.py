"""Hostile JSON: every body is answered promptly, with 200 or a short 4xx, and leaves no memory behind."""

import io
import json

import pytest

from tests.running_gateway import RunningGateway
from tools.simulators.fleet import Fleet

CHAT = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"x"}]'


def chat(more: bytes) -> bytes:
    return CHAT + b"," + more + b"}"


def dumped(**more: object) -> bytes:
    return json.dumps({"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}], **more}).encode()


REFUSED = {
    "a key of a megabyte": chat(b'"' + b"k" * 2**20 + b'":1'),
    "a model of a megabyte": dumped(model="m" * 2**20),
    "a role of a megabyte": dumped(messages=[{"role": "r" * 2**20, "content": "x"}]),
    "200,000 keys": dumped(**{f"k{number}": 1 for number in range(200_000)}),
    "objects 100,000 deep": chat(b'"metadata":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "arrays 100,000 deep": chat(b'"stop":' + b"[" * 100_000 + b"]" * 100_000),
    "arrays without an end": b"[" * 1_000_000,
    "ten million arrays": chat(b'"prediction":{"a":[' + b"[]," * 10_000_000 + b"0]}"),
    "an integer of 100,000 digits": chat(b'"seed":' + b"9" * 100_000),
    "a number beyond all floats": chat(b'"temperature":1e99999'),
    "a fraction of a megabyte": chat(b'"temperature":9.' + b"9" * 2**20),
    "NaN": chat(b'"temperature":NaN'),
    "Infinity": chat(b'"temperature":-Infinity'),
    "a number for a text": dumped(model=1),
    "true for a number": chat(b'"max_tokens":true'),
    "half of a surrogate pair": dumped()[:-3] + b'\\ud800"}]}',
    "a surrogate in UTF-8": CHAT.replace(b'"x"', b'"\xed\xa0\x80"') + b"}",
    "an overlong encoding": CHAT.replace(b'"x"', b'"\xc0\xaf"') + b"}",
    "no UTF-8": CHAT.replace(b'"x"', b'"\xff"') + b"}",
    "UTF-16": dumped().decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + dumped(),
    "a NUL in the model": dumped(model="gpt-4.1\0"),
    "a raw line feed in a text": CHAT.replace(b'"x"', b'"\n"') + b"}",
    "two values": dumped() + b"{}",
    "comments": b"/* */" + dumped(),
    "single quotes": dumped().replace(b'"', b"'"),
    "a prototype": dumped(__proto__={"a": 1}),
    "a lone text": b'"x"',
    "nothing": b"",
    "blanks": b" " * 1000,
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_in_few_words(fleet: Fleet, gateway: RunningGateway, name: str) -> None:
    async with gateway.session.post(
        f"{gateway.url}/v1/chat/completions",
        data=io.BytesIO(REFUSED[name]),
        headers={"Content-Type": "application/json"},
    ) as response:
        body = await response.read()
    assert response.status in (400, 404)
    assert len(body) < 8192
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert fleet.openai.request_count == 0
    assert (await gateway.chat("gpt-4.1", "Hi")).status == 200


async def test_the_last_of_equal_keys_is_what_is_answered_signed_and_sent(
    fleet: Fleet, gateway: RunningGateway
) -> None:
    """A client that reads duplicate keys differently must not be misled by the signature about what was executed."""
    raw = (
        b'{"model":"gpt-5","messages":[{"role":"user","content":"first"}],'
        b'"model":"gpt-4.1","messages":[{"role":"user","content":"last","content":"x"}]}'
    )
    once = json.dumps(json.loads(raw)).encode()
    answers = []
    for data in (raw, once):
        async with gateway.session.post(
            f"{gateway.url}/v1/chat/completions", data=data, headers={"Content-Type": "application/json"}
        ) as response:
            answers.append(await response.json())
    assert answers[0]["tee_request_hash"] == answers[1]["tee_request_hash"]
    assert fleet.openai.requests[0].json == fleet.openai.requests[1].json
    assert b"first" not in fleet.openai.requests[0].body


@pytest.mark.parametrize("text", ["a\0b", "\u202e", "\x1b[31m", "\U0001f600" * 1000, "\ufeff", "\uffff"])
async def test_odd_texts_arrive_as_they_are(fleet: Fleet, gateway: RunningGateway, text: str) -> None:
    assert (await gateway.chat("gpt-4.1", text)).status == 200
    assert fleet.openai.requests[-1].json["messages"][-1]["content"] == text


async def test_large_bodies_reach_the_vendor(fleet: Fleet, gateway: RunningGateway) -> None:
    text = "word " * 600_000
    async with gateway.session.post(
        f"{gateway.url}/v1/chat/completions",
        data=io.BytesIO(dumped(messages=[{"role": "user", "content": text}])),
        headers={"Content-Type": "application/json"},
    ) as response:
        assert response.status == 200
    assert fleet.openai.requests[-1].json["messages"][-1]["content"] == text
