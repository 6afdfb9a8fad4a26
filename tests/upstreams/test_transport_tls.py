"""TLS to an upstream: which certificates are trusted, and how a connection ends."""

import asyncio
import socket
import ssl
from pathlib import Path
from threading import Thread

import pytest
import uvloop

from gateway.upstreams.transport import read_body
from tests.certificates import self_signed
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


def test_a_large_answer_is_read_to_its_end_though_the_vendor_closes_at_once(
    tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """With the end of the TCP connection, uvloop drops what it has not passed on while reading was paused."""
    body = b"x" * 1_000_000

    def answer() -> None:
        accepted, _ = listener.accept()
        with tls.wrap_socket(accepted, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(http(200, body))

    async def read(url: str) -> bytes:
        async with opened(url, tls=trusting) as transport:
            response = await send(transport)
            thread.join(1.0)
            received: list[bytes] = []
            await response.stream(received.append, 5.0)
        return b"".join(received)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=answer)
        thread.start()
        assert uvloop.run(read(f"https://127.0.0.1:{listener.getsockname()[1]}")) == body
