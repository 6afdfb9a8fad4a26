"""The pooled HTTP transport on real sockets: requests sent, connections, and limits of a call."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import UpstreamCall
from gateway.upstreams.transport import Limits, Transport, read_body
from tests.upstreams.scripted_server import ScriptedServer, Writer, http
from tests.upstreams.transport_calls import CALL, opened, refused, send


async def silence(writer: Writer) -> None:
    await asyncio.Event().wait()


# -------------------------------------------------------------------------------------------------------- requests sent


async def test_the_request_on_the_wire() -> None:
    async with ScriptedServer([http(200, b'{"a":1}')]) as server, opened(server.url + "/v1/") as transport:
        response = await send(transport)
        assert await read_body(response) == b'{"a":1}'
    [request] = server.requests
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.body == b'{"model":"m"}'
    assert request.headers | {"host": ""} == {
        "host": "",
        "authorization": "Bearer k",
        "x-extra": "1",
        "content-type": "application/json",
        "content-length": "13",
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "tee-gateway",
    }


async def test_paths_are_sent_as_they_are() -> None:
    call = UpstreamCall("/models/a%2Fb:stream?alt=sse", b"", stream=True)
    async with ScriptedServer([http(200)]) as server, opened(server.url) as transport:
        (await send(transport, call)).close()
    assert server.requests[0].line == "POST /models/a%2Fb:stream?alt=sse HTTP/1.1"


@pytest.mark.parametrize("value", ["1\nX: 2", "1\rX: 2", "1\r\nX: 2"])
async def test_a_header_cannot_hold_another(value: str) -> None:
    call = UpstreamCall("/chat/completions", b"{}", stream=False, headers={"X-Extra": value})
    async with ScriptedServer([http(200)]) as server, opened(server.url) as transport:
        with pytest.raises(ValueError, match="line break"):
            await send(transport, call)
        assert server.requests == []


async def test_no_cookies_are_kept() -> None:
    replies = [http(200, headers="Set-Cookie: a=b; Path=/\r\n"), http(200)]
    async with ScriptedServer([*replies]) as server, opened(server.url) as transport:
        for _ in replies:
            await read_body(await send(transport))
    assert "cookie" not in server.requests[1].headers


async def test_connections_are_used_again() -> None:
    async with ScriptedServer([http(200)]) as server, opened(server.url) as transport:
        for _ in range(3):
            await read_body(await send(transport))
            assert transport.open_connections == 0
        assert (server.connections, len(server.requests)) == (1, 3)


async def test_the_environments_proxies_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY")
    async with ScriptedServer([http(200)]) as server, opened(server.url) as transport:
        await read_body(await send(transport))


async def test_an_answer_compressed_unasked_is_read() -> None:
    body = http(200, gzip.compress(b'{"a":1}'), headers="Content-Encoding: gzip\r\n")
    async with ScriptedServer([body]) as server, opened(server.url) as transport:
        assert await read_body(await send(transport)) == b'{"a":1}'


# ---------------------------------------------------------------------------------------------------- limits of a call


async def test_no_first_byte_is_a_timeout_and_not_tried_again() -> None:
    async with (
        ScriptedServer([silence]) as server,
        opened(server.url, Limits(first_byte_timeout=0.1, max_attempts=3, backoff=0.01)) as transport,
    ):
        error = await refused(transport)
        assert transport.open_connections == 0
    assert (error.status, error.code, error.retryable) == (504, "upstream_timeout", False)
    assert len(server.requests) == 1


async def test_time_to_connect_is_bounded() -> None:
    """A listener that accepts and never completes the TLS handshake."""
    async with ScriptedServer([silence]) as server:
        url = server.url.replace("http:", "https:")
        async with opened(url, Limits(connect_timeout=0.1, max_attempts=2, backoff=0.01)) as transport:
            async with asyncio.timeout(30):  # the handshake's own timeout is 60 s
                error = await refused(transport)
        assert server.connections == 2
    assert error.code == "upstream_unreachable"


@pytest.mark.parametrize(
    "garbage", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n"]
)
async def test_what_is_no_http_is_a_bad_answer(garbage: bytes) -> None:
    async with ScriptedServer([garbage]) as server, opened(server.url) as transport:
        error = await refused(transport)
    assert (error.status, error.code) == (502, "upstream_bad_response")


async def test_the_pool_is_bounded() -> None:
    async def late(writer: Writer) -> None:
        await asyncio.sleep(0.05)
        writer.write(http(200))

    async def one(transport: Transport) -> None:
        await read_body(await send(transport))

    async with ScriptedServer([late]) as server, opened(server.url, Limits(max_connections=2)) as transport:
        await asyncio.gather(*(one(transport) for _ in range(6)))
    assert (server.most_open, len(server.requests)) == (2, 6)


async def test_a_connection_that_was_held_as_its_answer_ended_takes_the_next() -> None:
    """A client's buffer may be full at the moment in which the last bytes of a response arrive."""

    async def late(writer: Writer) -> None:
        head, _, body = http(200, b"first").partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(body)

    async with ScriptedServer([late, http(200, b"second")]) as server, opened(server.url) as transport:
        response = await send(transport)
        await response.stream(lambda data: response.pause_reading(), 1.0)
        assert await read_body(await send(transport)) == b"second"
        assert server.connections == 1


async def test_connections_in_use_are_counted() -> None:
    async with ScriptedServer([http(200, b"x" * 2_000_000)]) as server, opened(server.url) as transport:
        response = await send(transport)
        assert transport.open_connections == 1
        response.close()
        assert transport.open_connections == 0


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_answers_are_bounded(size: int, fits: bool) -> None:
    async with ScriptedServer([http(200, b"x" * size)]) as server, opened(server.url) as transport:
        response = await send(transport)
        if fits:
            assert len(await read_body(response, limit=1000)) == size
            return
        with pytest.raises(GatewayError) as caught:
            await read_body(response, limit=1000)
        assert (caught.value.status, caught.value.code) == (502, "upstream_bad_response")
        assert transport.open_connections == 0


async def test_a_bomb_is_stopped_as_it_unfolds() -> None:
    bomb = http(200, gzip.compress(b"\0" * 20_000_000), headers="Content-Encoding: gzip\r\n")
    async with ScriptedServer([bomb]) as server, opened(server.url) as transport:
        with pytest.raises(GatewayError, match="too large"):
            await read_body(await send(transport), limit=100_000)


LARGE = UpstreamCall("/chat/completions", b"x" * 8_000_000, stream=False)


@asynccontextmanager
async def refusing_early(answer: bytes, *, closes: bool) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers large requests once it has their headers, reads no further, and may close.

    Small requests are read and answered with 200. The list collects the request lines.
    """
    lines: list[bytes] = []
    waiting: set[Writer] = set()

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        waiting.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines.append(head.partition(b"\r\n")[0])
                if b"Content-Length: 8000000" in head:
                    writer.write(answer)
                    await (writer.drain() if closes else silence(writer))
                    break
                await reader.readexactly(len(CALL.body))
                writer.write(http(200))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**16)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", lines
    finally:
        server.close()
        for writer in waiting:
            writer.transport.abort()
        await server.wait_closed()


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("headers", ["", "Connection: close\r\n"])
async def test_a_refusal_before_the_request_was_read_is_heard(closes: bool, headers: str) -> None:
    """It is not a connection failure, and the unsent rest of the request is not sent with the next one."""
    error = b'{"error":{"message":"too large","type":"invalid_request_error","code":null}}'
    async with (
        refusing_early(http(413, error, headers), closes=closes) as (url, lines),
        opened(url) as transport,
    ):
        with pytest.raises(GatewayError) as caught:
            await send(transport, LARGE)
        assert (caught.value.status, caught.value.code) == (413, "request_too_large")
        assert len(lines) == 1
        assert await read_body(await send(transport)) == b"{}"
        assert lines == [b"POST /chat/completions HTTP/1.1"] * 2
        assert transport.open_connections == 0


async def test_a_large_request_that_nobody_reads_is_given_up_with_its_answer() -> None:
    async with refusing_early(b"", closes=False) as (url, lines), opened(url) as transport:
        with pytest.raises(GatewayError) as caught:
            await send(transport, LARGE)
        assert (caught.value.code, len(lines)) == ("upstream_timeout", 1)
        assert transport.open_connections == 0


async def test_an_answer_that_breaks_off() -> None:
    async def cut(writer: Writer) -> None:
        writer.write(http(200, b"x" * 100)[:-50])
        await writer.drain()
        writer.close()

    async with ScriptedServer([cut]) as server, opened(server.url) as transport:
        with pytest.raises(GatewayError) as caught:
            await read_body(await send(transport))
    assert (caught.value.status, caught.value.code) == (502, "upstream_truncated")


async def test_an_answer_that_falls_silent() -> None:
    async def stall(writer: Writer) -> None:
        writer.write(http(200, b"x" * 100)[:-50])
        await writer.drain()
        await asyncio.sleep(30)

    async with ScriptedServer([stall]) as server, opened(server.url, Limits(first_byte_timeout=0.1)) as transport:
        with pytest.raises(GatewayError) as caught:
            await read_body(await send(transport))
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")


@pytest.mark.parametrize("size", [100_000, 400_000])
async def test_error_bodies_are_bounded(size: int) -> None:
    body = b'{"error":{"message":"' + b"x" * size + b'","code":"context_length_exceeded"}}'
    async with ScriptedServer([http(400, body)]) as server, opened(server.url) as transport:
        error = await refused(transport)
        assert transport.open_connections == 0
    assert error.code == ("context_length_exceeded" if size < 256 * 1024 else None)
    assert len(error.message) <= 2000


async def test_an_error_whose_body_breaks_off_keeps_its_status() -> None:
    async def cut(writer: Writer) -> None:
        writer.write(http(404, b"x" * 100)[:-50])
        await writer.drain()
        writer.close()

    async with ScriptedServer([cut]) as server, opened(server.url) as transport:
        assert (await refused(transport)).code == "model_not_found"
