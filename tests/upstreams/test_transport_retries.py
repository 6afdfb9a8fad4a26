"""Which calls the transport sends again, how often and when (facts/providers.md 1.6)."""

import asyncio
import socket
import time
from collections.abc import Mapping

import pytest

from gateway.openai_api.errors import GatewayError, upstream_error
from gateway.upstreams.adapter import UpstreamCall
from gateway.upstreams.transport import Limits, read_body
from tests.upstreams.scripted_server import ScriptedServer, Writer, http
from tests.upstreams.transport_calls import opened, refused, send


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of every pause, none of which is made."""
    recorded: list[float] = []

    async def sleep(seconds: float) -> None:
        recorded.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return recorded


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 520, 524, 529])
async def test_tried_again(status: int) -> None:
    async with ScriptedServer([http(status), http(status), http(200)]) as server, opened(server.url) as transport:
        assert await read_body(await send(transport)) == b"{}"
    assert len(server.requests) == 3
    assert len({request.body for request in server.requests}) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 520, 524, 529])
async def test_tried_three_times_at_most(status: int) -> None:
    async with ScriptedServer([http(status)]) as server, opened(server.url) as transport:
        error = await refused(transport)
    assert error.status in (429, 502, 503, 504)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 400, 401, 403, 404, 408, 413, 422])
async def test_tried_once(status: int) -> None:
    replies = [http(status, b"" if status == 204 else b"{}", headers="Location: /elsewhere\r\n")]
    async with ScriptedServer([*replies]) as server, opened(server.url) as transport:
        await refused(transport)
    assert [request.line for request in server.requests] == ["POST /chat/completions HTTP/1.1"]


async def test_billing_errors_are_not_tried_again() -> None:
    body = b'{"error":{"type":"insufficient_quota","message":"x","code":"insufficient_quota"}}'
    async with ScriptedServer([http(429, body)]) as server, opened(server.url) as transport:
        assert (await refused(transport)).code == "upstream_billing"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_a_vendor_that_wants_no_second_attempt_gets_none(status: int) -> None:
    reply = http(status, headers="x-should-retry: false\r\n")
    async with ScriptedServer([reply]) as server, opened(server.url) as transport:
        error = await refused(transport)
    assert len(server.requests) == 1
    assert error.http_headers()["x-should-retry"] == "false"


@pytest.mark.parametrize("attempts", [0, 1, 2])
async def test_fewer_attempts(attempts: int) -> None:
    async with (
        ScriptedServer([http(503)]) as server,
        opened(server.url, Limits(max_attempts=attempts, backoff=0.01)) as transport,
    ):
        await refused(transport)
    assert len(server.requests) == max(attempts, 1)


async def test_another_error_on_the_second_attempt_ends_it() -> None:
    async with ScriptedServer([http(503), http(400)]) as server, opened(server.url) as transport:
        assert (await refused(transport)).status == 400
    assert len(server.requests) == 2


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_when_a_call_was_sent_again_is_known(failures: int) -> None:
    """What a model reasons is estimated by the time since then."""
    call, failed = UpstreamCall("/chat/completions", b"{}", stream=False), []

    def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        failed.append(time.perf_counter())
        return upstream_error("upstream_overloaded", "Later", retryable=True)

    async with (
        ScriptedServer([*[http(503)] * failures, http(200)]) as server,
        opened(server.url, Limits(backoff=0.01)) as transport,
    ):
        await read_body(await transport.send(call, {}, decode_error))
    assert len(failed) == failures
    assert call.resent > failed[-1] if failed else call.resent == 0


async def test_retry_after_is_waited_out(pauses: list[float]) -> None:
    replies = [http(429, headers="retry-after-ms: 200\r\n"), http(503, headers="retry-after-ms: 100\r\n"), http(200)]
    async with ScriptedServer([*replies]) as server, opened(server.url) as transport:
        await read_body(await send(transport))
    assert pauses == [0.2, 0.1]


@pytest.mark.parametrize(
    "replies", [[http(429, headers="Retry-After: 2\r\n")], [http(503), http(503, headers="Retry-After: 2\r\n")]]
)
async def test_a_longer_retry_after_goes_to_the_client(replies: list[bytes], pauses: list[float]) -> None:
    async with ScriptedServer([*replies]) as server, opened(server.url) as transport:
        error = await refused(transport)
    assert 2 not in pauses
    assert error.retry_after == 2
    assert len(server.requests) == len(replies)


async def test_pauses_grow(pauses: list[float]) -> None:
    async with (
        ScriptedServer([http(503)]) as server,
        opened(server.url, Limits(backoff=0.1, max_attempts=3)) as transport,
    ):
        await refused(transport)
    assert pauses == [0.1, 0.2]


async def test_a_connection_closed_before_an_answer_is_tried_again() -> None:
    async with ScriptedServer([None, None, http(200)]) as server, opened(server.url) as transport:
        assert await read_body(await send(transport)) == b"{}"
    assert server.connections == 3


async def test_a_connection_that_is_always_closed() -> None:
    async def reset(writer: Writer) -> None:
        writer.transport.abort()

    async with ScriptedServer([reset]) as server, opened(server.url) as transport:
        error = await refused(transport)
    assert (error.status, error.code) == (502, "upstream_unreachable")
    assert len(server.requests) == 3


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with opened(f"http://127.0.0.1:{port}") as transport:
        error = await refused(transport)
    assert (error.status, error.code, error.retryable) == (502, "upstream_unreachable", True)


async def test_no_such_host() -> None:
    async with opened("http://upstream.invalid") as transport:
        assert (await refused(transport)).code == "upstream_unreachable"
