"""Clients that do not read: their memory is bounded, and they are disconnected after a timeout."""

import asyncio
import gc
import os
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.http_server import connection
from gateway.upstreams import transport
from tests.running_gateway import CHAT, FAST, RunningGateway, StartGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import RawReply, Scenario
from tools.soak.raw_client import RawClient, chat_request

STREAM = {**CHAT, "stream": True}
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 8000 + b'"},"finish_reason":null}]}\n\n'
ENDLESS = Scenario(
    raw=RawReply(headers=(("Content-Type", "text/event-stream"),), chunks=(EVENT,) * 4000),
)
"""An answer of 32 MB, more than all buffers on its way take."""


def resident() -> int:
    """Resident memory of this process in bytes."""
    gc.collect()
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def test_a_reader_that_stops_stops_the_upstream(fleet: Fleet, gateway: RunningGateway) -> None:
    """Backpressure: no more is read from the vendor than the buffers on the way hold. nginx is asked to have none."""
    fleet.openai.enqueue(ENDLESS)
    async with RawClient(gateway.url, receive_buffer=4096) as client:
        await client.send(chat_request(STREAM))
        head = await client.read(1000)
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert b"\r\nX-Accel-Buffering: no\r\n" in head
        await asyncio.sleep(1.0)
        [received] = fleet.openai.requests
        assert received.finished_at is None
    await until(lambda: received.aborted_at is not None)
    assert received.events_sent * len(EVENT) < 16 * 2**20


async def test_a_slow_reader_is_not_the_upstreams_silence(fleet: Fleet, start_gateway: StartGateway) -> None:
    running = await start_gateway(fleet.environment(), limits=replace(FAST, read_timeout=0.3))
    fleet.openai.enqueue(ENDLESS)
    received = b""
    async with RawClient(running.url, receive_buffer=2**18) as client:
        await client.send(chat_request(STREAM, "Connection: close"))
        await client.read(1000)
        await asyncio.sleep(1.0)
        while piece := await client.read(2**20):
            received += piece
    assert len(received) > 4000 * 8000
    assert b"upstream_timeout" not in received


async def test_an_endless_answer_ends(fleet: Fleet, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 2_000_000)
    fleet.openai.enqueue(ENDLESS)
    async with RawClient(gateway.url) as client:
        await client.send(chat_request(STREAM))
        received = await client.read_all()
    assert b'"code":"upstream_bad_response"' in received
    assert 1_000_000 < len(received) < 2_100_000
    await until(lambda: fleet.openai.requests[-1].aborted_at is not None)


async def test_a_reader_that_stops_is_cut_off(
    fleet: Fleet, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.2)
    fleet.openai.enqueue(ENDLESS)
    async with RawClient(gateway.url, receive_buffer=4096) as client:
        await client.send(chat_request(STREAM))
        await client.read(1000)
        await until(lambda: fleet.openai.requests[-1].aborted_at is not None)
        await until(lambda: gateway.services.admission.active == 0)
        assert gateway.services.upstreams["openai"].transport.open_connections == 0
        assert not gateway.services.streams


async def test_a_complete_answer_that_nobody_reads_is_cut_off(
    fleet: Fleet, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.2)
    fleet.openai.enqueue(Scenario(text="word " * 4_000_000))
    async with RawClient(gateway.url, receive_buffer=4096) as client:
        await client.send(chat_request({**STREAM, "stream": False}))
        assert (await client.read(1000)).startswith(b"HTTP/1.1 200 OK")
        await asyncio.sleep(1.0)
        assert len(await client.read_all()) < 16 * 2**20


async def test_a_slow_reader_that_makes_progress_is_not(
    fleet: Fleet, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STALL_SECONDS", 1.0)
    fleet.openai.enqueue(Scenario(text="word " * 2_000_000))
    received = b""
    async with RawClient(gateway.url, receive_buffer=65536) as client:
        await client.send(chat_request({**STREAM, "stream": False}, "Connection: close"))
        started = asyncio.get_running_loop().time()
        while piece := await client.read(2**16):
            received += piece
            await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - started > 1.0
    assert received.endswith(b"}")
    assert len(received) > 10_000_000


async def test_memory_of_open_streams_is_bounded(fleet: Fleet, gateway: RunningGateway) -> None:
    """Twenty streams of 32 MB that nobody reads: what the kernel's buffers took is kept for the signature, the rest
    stays with the vendor.
    """
    before = resident()
    clients = [RawClient(gateway.url, receive_buffer=4096) for _ in range(20)]
    try:
        for client in clients:
            fleet.openai.enqueue(ENDLESS)
            await client.__aenter__()
            await client.send(chat_request(STREAM))
            await client.read(1000)
        await asyncio.sleep(1.0)
        assert resident() - before < len(clients) * 8 * 2**20
    finally:
        for client in clients:
            client.socket.close()
    await until(lambda: gateway.services.admission.active == 0)
