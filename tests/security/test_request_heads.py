"""The size limit of a request head holds in total, however it is split into headers, reads and pipelined requests."""

import asyncio
import json
import re

import pytest

from gateway.http_server.connection import MAX_HEAD_BYTES, MAX_READ_BYTES
from tests.running_gateway import CHAT, RunningGateway
from tools.soak.raw_client import RawClient

BODY = json.dumps(CHAT).encode()


def head(size: int, *more: bytes, target: bytes = b"GET /health") -> bytes:
    """A request head whose target, header names and values total ``size`` bytes."""
    fixed = len(target.split()[1]) + len(b"Hostx") + sum(len(line) - len(b": ") for line in more)
    paddings = []
    while (left := size - fixed) > 0:
        value = b"a" * min(left - 1, 30_000)
        paddings.append(b"P: " + value)
        fixed += 1 + len(value)
    return b"\r\n".join((target + b" HTTP/1.1", b"Host: x", *more, *paddings, b"", b""))


async def answers(gateway: RunningGateway, *pieces: bytes) -> list[tuple[int, bytes]]:
    """Statuses and the remaining bytes in response to ``pieces``, each read by the server separately."""
    async with RawClient(gateway.url) as client:
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0.02)
        received = await client.read_all(1.0)
    return [(int(part[:3]), part) for part in re.split(rb"HTTP/1\.[01] ", received)[1:]]


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def upload(*headers: bytes) -> bytes:
    """The head of a chat request."""
    return head(0, b"Content-Type: application/json", *headers, target=b"POST /v1/chat/completions")


CHUNKED = b"Transfer-Encoding: chunked"
BODY_IN_CHUNKS = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
LAST = head(50, b"Connection: close")
TRAILER = b"X: " + b"a" * 20_000 + b"\r\n"


@pytest.mark.parametrize("size", [1 << 20, 50_000, 5_000])
async def test_what_fits_is_served_and_what_does_not_is_431(gateway: RunningGateway, size: int) -> None:
    fits = head(MAX_HEAD_BYTES, b"Connection: close")
    assert [status for status, _ in await answers(gateway, *in_pieces(fits, size))] == [200]
    [(status, rest)] = await answers(gateway, *in_pieces(head(MAX_HEAD_BYTES + 1), size))
    error = json.loads(rest.partition(b"\r\n\r\n")[2])["error"]
    assert status == 431
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "bad_framing", None)
    assert str(MAX_HEAD_BYTES) in error["message"]
    assert b"x-request-id: req_" in rest


async def test_a_head_that_does_not_end_is_not_read_on(gateway: RunningGateway) -> None:
    endless = b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"".join(
        b"X-%d: " % n + b"a" * 30_000 + b"\r\n" for n in range(12)
    )
    assert len(endless) > MAX_HEAD_BYTES + MAX_READ_BYTES
    [(status, _)] = await answers(gateway, endless)
    assert status == 431


async def test_a_pipelined_head_is_bounded_as_well(gateway: RunningGateway) -> None:
    one, large = head(100), head(2 * MAX_HEAD_BYTES)
    statuses = [status for status, _ in await answers(gateway, one + large)]
    assert statuses == [200, 431]
    statuses = [status for status, _ in await answers(gateway, one + large[:60_000], large[60_000:], one)]
    assert statuses == [200, 431]


async def test_a_body_is_no_head(gateway: RunningGateway) -> None:
    body = BODY + b" " * 500_000
    request = upload(b"Content-Length: %d" % len(body)) + body
    statuses = [
        status for status, _ in await answers(gateway, *in_pieces(request, 100_000), head(MAX_HEAD_BYTES), LAST)
    ]
    assert statuses == [200] * 3


async def test_trailers_are_bounded_as_well(gateway: RunningGateway) -> None:
    endless = [TRAILER] * (1 + (MAX_HEAD_BYTES + MAX_READ_BYTES) // len(TRAILER))
    [(status, rest)] = await answers(gateway, upload(CHUNKED), BODY_IN_CHUNKS, *endless)
    assert status == 400
    assert b"incomplete_body" in rest
    statuses = [
        status for status, _ in await answers(gateway, upload(CHUNKED), BODY_IN_CHUNKS, *[TRAILER] * 3, b"\r\n" + LAST)
    ]
    assert statuses == [200, 200]


async def test_chunk_extensions_are_bounded_as_well(gateway: RunningGateway) -> None:
    endless = [b"1;" + b"a" * 60_000, *[b"a" * 60_000] * (1 + (MAX_HEAD_BYTES + MAX_READ_BYTES) // 60_000)]
    assert [status for status, _ in await answers(gateway, upload(CHUNKED), *endless[:-1])] == [400]


async def test_small_chunks_are_no_trailers(gateway: RunningGateway) -> None:
    blank = b"1;" + b"a" * 30_000 + b"\r\n \r\n"
    pieces = [blank] * (2 + (MAX_HEAD_BYTES + MAX_READ_BYTES) // len(blank))
    statuses = [
        status for status, _ in await answers(gateway, upload(CHUNKED), *pieces, BODY_IN_CHUNKS + b"\r\n", LAST)
    ]
    assert statuses == [200, 200]


@pytest.mark.parametrize("before", [b"", head(50)], ids=["alone", "pipelined"])
async def test_a_body_that_turns_out_invalid_is_refused_at_once(gateway: RunningGateway, before: bytes) -> None:
    *_, (status, rest) = await answers(gateway, before + upload(CHUNKED) + b"5\r\nabcde\r\n", b"ZZ\r\n", head(50))
    assert status == 400
    assert b"incomplete_body" in rest


async def test_an_invalid_body_behind_its_refusal_is_answered_no_more(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    refused = upload(CHUNKED, b"Content-Encoding: gzip")
    statuses = [status for status, _ in await answers(gateway, refused + b"5\r\nabcde\r\n", b"ZZ\r\n", head(50))]
    assert statuses == [415]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    async with RawClient(gateway.url) as client, asyncio.timeout(3):
        await client.send(refused)
        assert (await client.read()).startswith(b"HTTP/1.1 415 ")
        await client.send(b"ZZ\r\n")
        assert await client.read() == b"", "the connection is closed, without waiting for the rest of the body"


@pytest.mark.parametrize("size", [1 << 20, 100_000])
async def test_a_body_pipelined_behind_an_upgrade_is_no_head(gateway: RunningGateway, size: int) -> None:
    body = BODY + b" " * 500_000
    first = (
        head(50, b"Connection: Upgrade", b"Upgrade: websocket") + upload(b"Content-Length: %d" % len(body)) + body[:9]
    )
    statuses = [status for status, _ in await answers(gateway, first, *in_pieces(body[9:], size), LAST)]
    assert statuses == [200] * 3


async def test_heads_behind_an_upgrade_are_bounded_as_well(gateway: RunningGateway) -> None:
    upgrade = head(50, b"Connection: Upgrade", b"Upgrade: websocket")
    assert [status for status, _ in await answers(gateway, upgrade * 2 + head(MAX_HEAD_BYTES + 1))] == [200, 200, 431]


async def test_other_connections_are_served_after_a_refusal(gateway: RunningGateway) -> None:
    await answers(gateway, head(2 * MAX_HEAD_BYTES))
    assert [status for status, _ in await answers(gateway, LAST)] == [200]
