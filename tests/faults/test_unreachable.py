"""Unreachable vendors: an error, whichever step of the connection hangs."""

import asyncio
import socket
from dataclasses import replace
from typing import Any

import pytest

from tests.running_gateway import FAST, StartGateway

LIMITS = replace(FAST, connect_timeout=0.2, max_attempts=1)


async def hang(*arguments: Any, **options: Any) -> Any:
    await asyncio.Event().wait()


async def refused(start_gateway: StartGateway, url: str, *, hanging_names: bool = False) -> tuple[int, str]:
    """Status and error code of a chat through a vendor at ``url``."""
    gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"}, limits=LIMITS)
    if hanging_names:
        gateway.services.upstreams["openai"].transport._pool._connector._resolver.resolve = hang  # type: ignore[method-assign]
    async with asyncio.timeout(30):
        response = await gateway.chat("gpt-4.1", "Hi")
    assert gateway.services.upstreams["openai"].transport.open_connections == 0
    return response.status, (await response.json())["error"]["code"]


async def test_names_that_hang(start_gateway: StartGateway) -> None:
    told = await refused(start_gateway, "https://vendor.invalid", hanging_names=True)
    assert told == (502, "upstream_unreachable")


async def test_names_that_do_not_exist(start_gateway: StartGateway) -> None:
    assert await refused(start_gateway, "https://vendor.invalid") == (502, "upstream_unreachable")


async def test_a_port_that_nobody_listens_on(start_gateway: StartGateway) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert await refused(start_gateway, url) == (502, "upstream_unreachable")


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28", b"", None])
async def test_a_server_that_does_not_speak_tls(start_gateway: StartGateway, greeting: bytes | None) -> None:
    """It answers in plain text, closes, or stays silent."""
    waiting = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greeting is None:
            await waiting.wait()
        else:
            writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        told = await refused(start_gateway, url)
        waiting.set()
    assert told == (502, "upstream_unreachable")
