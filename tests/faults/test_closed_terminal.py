"""A closed terminal (SIGHUP) ends a gateway like SIGTERM, without cutting answers off, unless ``nohup`` ignores it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.running_gateway import CHAT
from tests.workers.gateway_process import GatewayProcess, gateway
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario
from tools.soak.raw_client import RawClient, chat_request

STREAM = {**CHAT, "stream": True}
workers = pytest.mark.parametrize("workers", ["1", "2"])


@contextmanager
def inherited(handler: signal.Handlers) -> Iterator[None]:
    """What processes started here do on SIGHUP: under ``nohup``, as the suite may be, they would all ignore it."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def hang_up(running: GatewayProcess) -> None:
    """Signal all processes, as the kernel does."""
    for pid in (running.process.pid, *running.workers()):
        os.kill(pid, signal.SIGHUP)


@workers
async def test_answers_under_way_are_finished(fleet: Fleet, workers: str) -> None:
    fleet.openai.default = Scenario(text="word " * 20, event_delay=0.03)
    with inherited(signal.SIG_DFL):
        async with (
            gateway(**fleet.environment(), GATEWAY_WORKERS=workers) as running,
            RawClient(running.url) as client,
        ):
            await client.send(chat_request(STREAM, "Connection: close"))
            assert (await client.read()).startswith(b"HTTP/1.1 200 ")
            hang_up(running)
            assert b"data: [DONE]" in await client.read_all()
            assert await running.process.wait() == 0


@workers
async def test_nohup_keeps_it_running(fleet: Fleet, workers: str) -> None:
    with inherited(signal.SIG_IGN):
        async with gateway(**fleet.environment(), GATEWAY_WORKERS=workers) as running:
            hang_up(running)
            assert (await running.get("/health/ready")).status == 200
            assert (await running.post("/v1/chat/completions", STREAM)).status == 200
            assert running.process.returncode is None
