"""Servers that are gone without a word: pooled connections that are dead, and an address that has moved."""

import asyncio
from typing import Any

import pytest

from gateway.upstreams.transport import read_body
from tests.upstreams.scripted_server import ScriptedServer, Writer, http
from tests.upstreams.transport_calls import opened, send

NUMBER = 6


async def test_a_second_attempt_uses_no_pooled_connection() -> None:
    """A load balancer that is replaced knows none of them, and resets each at its next request."""
    known: set[Writer] = set()
    all_open = asyncio.Event()

    async def answer_once(writer: Writer) -> None:
        if writer in known:
            writer.transport.abort()
            return
        known.add(writer)
        if len(known) >= NUMBER:
            all_open.set()
        await all_open.wait()
        writer.write(http(200))

    async with ScriptedServer([answer_once]) as server, opened(server.url) as transport:
        for response in await asyncio.gather(*(send(transport) for _ in range(NUMBER))):
            await read_body(response)
        assert await read_body(await send(transport)) == b"{}"
    assert (server.connections, len(server.requests)) == (NUMBER + 1, NUMBER + 2)


async def test_a_second_attempt_leaves_its_connection_to_the_next_call() -> None:
    async with ScriptedServer([None, http(200)]) as server, opened(server.url) as transport:
        for _ in range(2):
            await read_body(await send(transport))
    assert (server.connections, len(server.requests)) == (2, 3)


async def test_a_name_is_resolved_again_when_its_address_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ["127.0.0.2", "127.0.0.1"]

    async def resolve(host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        address = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return [{"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}]

    async with ScriptedServer([http(200)]) as server:
        url = server.url.replace("127.0.0.1", "vendor.test")
        async with opened(url) as transport:
            monkeypatch.setattr(transport._pool._connector._resolver, "resolve", resolve)
            await read_body(await send(transport))
            await read_body(await send(transport))
    assert (addresses, len(server.requests)) == (["127.0.0.1"], 2)
