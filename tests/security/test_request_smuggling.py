"""Ambiguous HTTP framing is rejected with the connection closed, or parsed in the one way that leaves no bytes over
(RFC 9112 sections 2.2, 5, 6, 7.1 and 11.2).
"""

import asyncio
import json
import re

import pytest

from tests.running_gateway import CHAT, RunningGateway, StartGateway
from tools.simulators.fleet import Fleet
from tools.soak.raw_client import RawClient

BODY = json.dumps(CHAT).encode()
SIZE = b"%x" % len(BODY)
LENGTH = b"%d" % len(BODY)
CHUNKS = SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
SMUGGLED = b"GET /signing-key HTTP/1.1\r\nHost: gateway\r\n\r\n"


def chat(*headers: bytes, body: bytes = BODY, version: bytes = b"HTTP/1.1") -> bytes:
    lines = (b"POST /v1/chat/completions " + version, b"Host: gateway", b"Content-Type: application/json", *headers)
    return b"\r\n".join((*lines, b"", b"")) + body


def chunked(body: bytes) -> bytes:
    return chat(b"Transfer-Encoding: chunked", body=body)


def health(*headers: bytes) -> bytes:
    return b"\r\n".join((b"GET /health HTTP/1.1", b"Host: gateway", *headers, b"", b""))


AMBIGUOUS = {
    "CL.TE": chat(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=CHUNKS + SMUGGLED),
    "TE.CL": chat(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=CHUNKS + SMUGGLED),
    "two lengths": chat(b"Content-Length: " + LENGTH, b"Content-Length: 0", body=BODY + SMUGGLED),
    "the same length twice": chat(b"Content-Length: " + LENGTH, b"Content-Length: " + LENGTH),
    "a list of lengths": chat(b"Content-Length: " + LENGTH + b", " + LENGTH),
    "length with a sign": chat(b"Content-Length: +" + LENGTH),
    "length below zero": chat(b"Content-Length: -1"),
    "length in hexadecimal": chat(b"Content-Length: 0x40"),
    "length with an underscore": chat(b"Content-Length: 6_3"),
    "length in other digits": chat("Content-Length: ６３".encode()),
    "length missing after its name": chat(b"Content-Length: "),
    "length beyond all integers": chat(b"Content-Length: 99999999999999999999999"),
    "blank before the colon of a length": chat(b"Content-Length : " + LENGTH),
    "blank before the colon of a coding": chat(b"Transfer-Encoding : chunked", body=CHUNKS),
    "unknown coding": chat(b"Transfer-Encoding: xchunked", body=CHUNKS),
    "coding in quotes": chat(b'Transfer-Encoding: "chunked"', body=CHUNKS),
    "coding after a vertical tab": chat(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "coding twice": chat(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKS),
    "chunked is not the last coding": chat(b"Transfer-Encoding: chunked, identity", body=CHUNKS),
    "identity": chat(b"Transfer-Encoding: identity"),
    "folded length": chat(b"Content-Length:\r\n " + LENGTH),
    "folded header": chat(b"X-A: b\r\n\tc", b"Content-Length: " + LENGTH),
    "bare line feeds": chat(b"Content-Length: " + LENGTH).replace(b"\r\n", b"\n"),
    "one bare line feed": health(b"X-A: b\nX-B: c"),
    "bare carriage return": health(b"X-A: b\rX-B: c"),
    "NUL in a value": health(b"X-A: a\0b"),
    "NUL in a name": health(b"X\0A: b"),
    "control character in a value": health(b"X-A: a\x01b"),
    "blank before the first header": b"GET /health HTTP/1.1\r\n Host: gateway\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": health(b"Host: other"),
    "chunk size too large": chunked(b"FFFFFFFFFFFFFFFFF\r\n" + BODY),
    "chunk size below zero": chunked(b"-1\r\n" + BODY),
    "chunk size with 0x": chunked(b"0x" + CHUNKS),
    "chunk size with a sign": chunked(b"+" + CHUNKS),
    "blank before a chunk size": chunked(b" " + CHUNKS),
    "blank after a chunk size": chunked(SIZE + b" \r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk extension ended by a line feed": chunked(SIZE + b";\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk longer than its size": chunked(SIZE + b"\r\n" + BODY + b"XX0\r\n\r\n" + SMUGGLED),
    "endless trailers": chunked(SIZE + b"\r\n" + BODY + b"\r\n0\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n"),
    "too many headers": health(*(b"X-%d: a" % number for number in range(200))),
    "HTTP/1.2": health().replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": b"G@T /health HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "method in lower case": b"get /health HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "tabs in the request line": b"GET\t/health\tHTTP/1.1\r\nHost: gateway\r\n\r\n",
}

PLAIN = {
    "chunked": chunked(CHUNKS),
    "coding after a tab": chat(b"Transfer-Encoding:\tchunked", body=CHUNKS),
    "coding in capitals": chat(b"Transfer-Encoding: CHUNKED", body=CHUNKS),
    "chunk extension": chunked(SIZE + b";a=b\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "long chunk extension": chunked(SIZE + b";" + b"a" * 100_000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "trailer": chunked(SIZE + b"\r\n" + BODY + b"\r\n0\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"),
}


async def talk(gateway: RunningGateway, data: bytes, seconds: float = 3.0) -> bytes:
    """All bytes received until the connection closes."""
    async with RawClient(gateway.url) as client:
        await client.send(data)
        return await client.read_all(seconds)


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/\d\.\d (\d{3}) ", answer)]


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_ambiguous_requests_are_refused(fleet: Fleet, gateway: RunningGateway, name: str) -> None:
    answer = await talk(gateway, AMBIGUOUS[name])
    assert statuses(answer) == [400]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
    assert b"tee_id" not in answer
    assert fleet.openai.request_count == 0


@pytest.mark.parametrize("name", PLAIN)
async def test_unusual_but_plain_requests_leave_nothing_over(gateway: RunningGateway, name: str) -> None:
    last = b"GET /health HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
    answer = await talk(gateway, PLAIN[name] + last)
    assert statuses(answer) == [200, 200]
    assert b"chat.completion" in answer


async def test_chunks_are_not_part_of_http_1_0(fleet: Fleet, gateway: RunningGateway) -> None:
    answer = await talk(gateway, chat(b"Transfer-Encoding: chunked", body=CHUNKS, version=b"HTTP/1.0"))
    assert statuses(answer) == [400]
    assert fleet.openai.request_count == 0


async def test_codings_that_nobody_undoes(fleet: Fleet, gateway: RunningGateway) -> None:
    answer = await talk(gateway, chat(b"Transfer-Encoding: gzip, chunked", body=CHUNKS), seconds=0.3)
    assert statuses(answer) == [501]
    assert fleet.openai.request_count == 0


async def test_other_versions(gateway: RunningGateway) -> None:
    answer = await talk(gateway, health().replace(b"HTTP/1.1", b"HTTP/2.0"))
    assert answer.split(b" ", 2)[1] == b"505"


async def test_an_upgrade_to_websocket_is_declined_and_the_next_request_is_read(gateway: RunningGateway) -> None:
    async with RawClient(gateway.url) as client:
        await client.send(health(b"Connection: Upgrade", b"Upgrade: websocket"))
        assert (await client.read()).startswith(b"HTTP/1.1 200 ")
        await client.send(SMUGGLED)
        assert b"tee_id" in await client.read()


@pytest.mark.parametrize("protocol", [b"h2c", b"HTTP/3.0", b"TLS/1.0", "websoc\u212aet".encode()])
@pytest.mark.parametrize("following", [b"", SMUGGLED, SMUGGLED[:9]])
async def test_other_upgrades_are_declined_and_end_the_connection(
    gateway: RunningGateway, protocol: bytes, following: bytes
) -> None:
    """aiohttp's parser drops what the same read holds after them: a request nobody answers, or the beginning of one."""
    async with RawClient(gateway.url) as client:
        await client.send(health(b"Connection: Upgrade", b"Upgrade: " + protocol) + following)
        answer = await client.read_all()
        assert statuses(answer) == [200]
        assert b"connection: close" in answer.lower()
        async with asyncio.timeout(5):
            assert await client.read() == b""


@pytest.mark.parametrize("headers", [(), (b"Connection: Upgrade", b"Upgrade: websocket")])
async def test_the_content_of_connect_is_no_request(gateway: RunningGateway, headers: tuple[bytes, ...]) -> None:
    length = b"Content-Length: %d" % len(SMUGGLED)
    connect = health(length, *headers).replace(b"GET /health", b"CONNECT gateway:443")
    answer = await talk(gateway, connect + SMUGGLED)
    assert len(statuses(answer)) == 1
    assert statuses(answer)[0] >= 400
    assert b"tee_id" not in answer


async def test_a_body_where_none_belongs_is_no_request(gateway: RunningGateway) -> None:
    answer = await talk(gateway, health(b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED, seconds=0.3)
    assert statuses(answer) == [200]
    assert b"tee_id" not in answer


async def test_a_body_that_was_refused_is_no_request(gateway: RunningGateway) -> None:
    """The unread rest of a body must not be parsed as the next request."""
    refused = chat(b"Content-Encoding: gzip", b"Content-Length: %d" % (len(SMUGGLED) + 10), body=SMUGGLED)
    async with RawClient(gateway.url) as client:
        await client.send(refused)
        answer = await client.read()
        await client.send(b" " * 10)
        answer += await client.read_all(0.3)
    assert statuses(answer) == [415]
    assert b"tee_id" not in answer


async def test_headers_named_by_connection_stay_what_they_are(gateway: RunningGateway) -> None:
    request = health(b"Connection: close, Content-Length", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED
    assert statuses(await talk(gateway, request)) == [200]


@pytest.mark.parametrize(
    "host", ["a b", "a@b", "a/b?c", "a#b", "[", "[::1", "a:99999", "a:x", "", "a\\b", "a:b@c:80", "é", "x" * 300]
)
async def test_hosts_that_are_none_are_not_quoted(start_gateway: StartGateway, host: str) -> None:
    gateway = await start_gateway({"GATEWAY_PAYMENTS": "required", "OPENAI_API_KEY": "key"})
    assert b'"code":"invalid_host"' in await _with_host(gateway, host)


@pytest.mark.parametrize("host", ["a", "a.example:443", "127.0.0.1:80", "[::1]:8000", "[::1]", "a_b-c"])
async def test_hosts(start_gateway: StartGateway, host: str) -> None:
    gateway = await start_gateway({"GATEWAY_PAYMENTS": "required", "OPENAI_API_KEY": "key"})
    assert b'"code":"payments_unavailable"' in await _with_host(gateway, host)


async def _with_host(gateway: RunningGateway, host: str) -> bytes:
    request = chat(b"Content-Length: " + LENGTH, b"Connection: close")
    return await talk(gateway, request.replace(b"Host: gateway", b"Host: " + host.encode()))
