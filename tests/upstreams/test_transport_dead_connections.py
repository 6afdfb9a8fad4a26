"""Servers that are gone without a word: pooled connections that are dead, and an address that has moved."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import ANY
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.http_client.pool import ConnectionPool
from gateway.upstreams.transport import read_body
from tests.upstreams.scripted_server import ScriptedServer, answering_once, http
from tests.upstreams.transport_calls import opened, send

NUMBER = 6


async def test_a_second_attempt_uses_no_pooled_connection() -> None:
    async with ScriptedServer([answering_once(http(200), NUMBER)]) as server, opened(server.url) as transport:
        for response in await asyncio.gather(*(send(transport) for _ in range(NUMBER))):
            await read_body(response)
        assert await read_body(await send(transport)) == b"{}"
    assert (server.connections, len(server.requests)) == (NUMBER + 1, NUMBER + 2)


async def test_a_second_attempt_leaves_its_connection_to_the_next_call() -> None:
    async with ScriptedServer([None, http(200)]) as server, opened(server.url) as transport:
        for _ in range(2):
            await read_body(await send(transport))
    assert (server.connections, len(server.requests)) == (2, 3)


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of every name: 127.0.0.2 at the first lookup, 127.0.0.1 at later ones; those not yet told."""
    addresses = ["127.0.0.2", "127.0.0.1"]

    async def resolve(_: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        address = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return [{"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    return addresses


async def test_a_name_is_resolved_again_when_nothing_listens_at_its_address(moved: list[str]) -> None:
    async with (
        ScriptedServer([http(200)]) as server,
        opened(server.url.replace("127.0.0.1", "vendor.test")) as transport,
    ):
        await read_body(await send(transport))
        await read_body(await send(transport))
    assert (moved, len(server.requests)) == (["127.0.0.1"], 2)


async def test_a_name_is_resolved_again_when_a_connection_is_lost(moved: list[str]) -> None:
    """Its pool's next connection would go where the lost one went."""
    moved[:] = ["127.0.0.1"] * 3
    async with (
        ScriptedServer([http(200), None, http(200)]) as server,
        opened(server.url.replace("127.0.0.1", "vendor.test")) as transport,
    ):
        for _ in range(2):
            await read_body(await send(transport))
    assert (moved, server.connections) == (["127.0.0.1"], 2)


@asynccontextmanager
async def opened_at_silent_address() -> AsyncIterator[ConnectionPool]:
    """A pool to a server at 127.0.0.1; at 127.0.0.2 nobody accepts its connections."""
    async with ScriptedServer([http(200)]) as server:
        port = urlsplit(server.url).port
        with socket.create_server(("127.0.0.2", port), backlog=0), socket.create_connection(("127.0.0.2", port)):
            pool = ConnectionPool(f"http://vendor.test:{port}", {}, connections=10, connect=10.0)
            try:
                yield pool
            finally:
                await pool.close()


async def test_a_name_is_resolved_again_when_its_address_does_not_answer(moved: list[str]) -> None:
    """The whole request times out before the connection does."""
    async with opened_at_silent_address() as pool:
        request = pool.encode("GET", "/", {}, b"")
        with pytest.raises(TimeoutError):
            await pool.fetch(request, 0.2, 100)
        assert await pool.fetch(request, 5.0, 100) == (200, ANY, b"{}")
    assert moved == ["127.0.0.1"]


@pytest.mark.usefixtures("moved")
async def test_those_who_wait_for_a_lookup_get_its_result_when_a_connect_fails_just_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """aiohttp looks a name up once for all, and they take the result from the cache, a moment later."""
    look_up: Any = aiohttp.ThreadedResolver.resolve

    async def look_up_slowly(*host: Any, **family: Any) -> Any:
        await asyncio.sleep(0.01)
        connecting.cancel()
        return await look_up(*host, **family)

    async with opened_at_silent_address() as pool:
        request = pool.encode("GET", "/", {}, b"")
        connecting = asyncio.create_task(pool.fetch(request, 5.0, 100))
        with pytest.raises(TimeoutError):
            await pool.fetch(request, 0.2, 100)
        monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", look_up_slowly)
        answers = await asyncio.gather(*(pool.fetch(request, 5.0, 100) for _ in range(3)))
        assert {status for status, _, _ in answers} == {200}
        assert connecting.cancelled()
