"""TLS to an upstream: which certificates are trusted, and how a connection ends."""

import asyncio
import ssl
from pathlib import Path
from threading import Event

import pytest
import uvloop

from gateway.upstreams.transport import read_body
from tests.certificates import self_signed
from tests.closing_server import closing_server
from tests.upstreams.deaf_server import deaf_server
from tests.upstreams.scripted_server import ScriptedServer, http
from tests.upstreams.transport_calls import opened, refused, send

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    return self_signed(tmp_path_factory.mktemp("tls"), "127.0.0.1")[0]


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


async def test_a_self_signed_upstream_gets_no_request(tls: ssl.SSLContext) -> None:
    async with ScriptedServer([http(200)], tls) as server, opened(server.url) as transport:
        error = await refused(transport)
    assert (error.status, error.code) == (502, "upstream_unreachable")
    assert server.requests == []


async def test_a_trusted_upstream_does(tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with ScriptedServer([http(200)], tls) as server, opened(server.url, tls=trusting) as transport:
        assert await read_body(await send(transport)) == b"{}"


async def test_a_certificate_for_another_name_is_refused(tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with ScriptedServer([http(200)], tls) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        async with opened(url, tls=trusting) as transport:
            assert (await refused(transport)).code == "upstream_unreachable"
    assert server.requests == []


@pytest.mark.parametrize("paused", [False, True])
def test_a_vendor_that_ignores_close_notify_is_left_at_once(
    tls: ssl.SSLContext, trusting: ssl.SSLContext, paused: bool
) -> None:
    async def leave(url: str) -> None:
        async with opened(url, tls=trusting) as transport:
            response = await send(transport)
            if paused:
                response.pause_reading()
            await asyncio.sleep(0.05)
            response.close()
            await asyncio.sleep(0)

    with deaf_server(tls, CHUNKED, b"2\r\n{}\r\n") as (url, cut):
        uvloop.run(leave(url))
    assert cut.is_set()


@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize("size", [1_000, 100_000, 1_000_000])
def test_an_answer_is_read_to_its_end_though_it_was_paused_when_the_vendor_closed(
    tls: ssl.SSLContext, trusting: ssl.SSLContext, size: int, slow: bool
) -> None:
    """With the connection, TLS in uvloop drops what it has read ahead meanwhile: for a slow client, or in a burst."""
    head, body = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size

    async def read(url: str, awaited: Event) -> bytes:
        received: list[bytes] = []
        async with opened(url, tls=trusting) as transport:
            response = await send(transport)
            if slow:
                response.pause_reading()
                asyncio.get_running_loop().call_later(0.1, response.resume_reading)
            awaited.set()
            await response.stream(received.append, 5.0)
        return b"".join(received)

    with closing_server(tls, head, body) as server:
        assert uvloop.run(read(*server)) == body
