"""Workers that hang, exit by themselves or are all lost: the others keep serving, and no request waits forever."""

import asyncio
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import aiohttp
import pytest

from tests.running_gateway import CHAT
from tests.waiting import until
from tests.workers.gateway_process import GatewayProcess, gateway
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario
from tools.soak.raw_client import RawClient, chat_request

MORE_THAN_A_CHANNEL_HOLDS = 3000
FILES = 8192


@pytest.fixture
def many_files() -> Iterator[None]:
    """Raise the limit of open files, here and in the gateway."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def connected(running: GatewayProcess, count: int) -> Iterator[None]:
    """Open that many idle client connections."""
    host, _, port = running.url.removeprefix("http://").rpartition(":")
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection((host, int(port))))
        yield


@pytest.mark.usefixtures("many_files")
async def test_a_worker_that_hangs_in_a_crowd_is_asked_when_it_is_back(fleet: Fleet) -> None:
    async with gateway(**fleet.environment()) as running:
        workers = running.workers()
        os.kill(workers[0], signal.SIGSTOP)
        with connected(running, MORE_THAN_A_CHANNEL_HOLDS):
            async with RawClient(running.url) as scraper:
                await scraper.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                await asyncio.sleep(1.0)
                os.kill(workers[0], signal.SIGCONT)
                assert b"gateway_workers_ready 2.0" in await scraper.read_all()
        assert running.workers() == workers
    assert not any('"level":"error"' in line for line in running.log)


async def test_connections_wait_for_workers_when_all_are_lost(fleet: Fleet) -> None:
    async with gateway(**fleet.environment()) as running:
        lost = running.workers()
        for pid in lost:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: sum('"event":"worker' in line for line in running.log) >= 2)
        answers = await asyncio.gather(*(running.post("/v1/chat/completions", CHAT) for _ in range(4)))
        assert [answer.status for answer in answers] == [200] * 4
        assert not set(lost) & set(running.workers())


async def test_a_worker_that_leaves_gets_no_more_connections(fleet: Fleet) -> None:
    fleet.openai.default = Scenario(text="word " * 100, event_delay=0.03)
    async with (
        gateway(**fleet.environment()) as running,
        RawClient(running.url) as first,
        RawClient(running.url) as other,
    ):
        for client in (first, other):
            await client.send(chat_request({**CHAT, "stream": True}, "Connection: close"))
            assert (await client.read()).startswith(b"HTTP/1.1 200 ")
        os.kill(running.workers()[0], signal.SIGTERM)
        async with asyncio.timeout(2.0):
            await asyncio.sleep(0.2)
            assert [(await running.get("/health/ready")).status for _ in range(6)] == [200] * 6
        for client in (first, other):
            assert b"data: [DONE]" in await client.read_all()


async def test_metrics_are_told_while_all_drain(fleet: Fleet) -> None:
    fleet.openai.default = Scenario(text="word " * 100, event_delay=0.03)
    async with gateway(**fleet.environment()) as running, aiohttp.ClientSession() as scraper:
        await (await scraper.get(running.url + "/metrics")).read()
        async with RawClient(running.url) as first, RawClient(running.url) as other:
            for client in (first, other):
                await client.send(chat_request({**CHAT, "stream": True}, "Connection: close"))
                assert (await client.read()).startswith(b"HTTP/1.1 200 ")
            running.process.terminate()
            async with asyncio.timeout(2.0):
                await asyncio.sleep(0.2)
                text = await (await scraper.get(running.url + "/metrics")).text()
            assert "gateway_open_streams 2.0" in text
            assert "gateway_workers_ready 0.0" in text
    assert running.process.returncode == 0
