"""TLS to an upstream: which certificates are trusted, and how a connection ends."""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
import uvloop

from gateway.upstreams.transport import read_body
from tests.certificates import self_signed
from tests.upstreams.scripted_server import ScriptedServer, http
from tests.upstreams.transport_calls import opened, refused, send


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


@contextmanager
def deaf_server(tls: ssl.SSLContext) -> Iterator[tuple[str, Event]]:
    """A server that streams for three seconds without reading; the event is set if the TCP connection ends earlier."""

    def stream() -> None:
        accepted, _ = listener.accept()
        with tls.wrap_socket(accepted, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(300):
                    connection.sendall(b"2\r\n{}\r\n")
                    time.sleep(0.01)
            except OSError:
                cut.set()

    cut = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=stream)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", cut
        thread.join()


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

    with deaf_server(tls) as (url, cut):
        uvloop.run(leave(url))
    assert cut.is_set()
