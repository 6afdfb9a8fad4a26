"""The connection limit: idle connections are closed for new ones, busy ones stay, and upstreams remain reachable."""

import gc
import json
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from gateway.http_server import file_descriptors
from tests.running_gateway import RunningGateway, StartGateway
from tests.waiting import until
from tests.workers.gateway_process import gateway
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario
from tools.soak.raw_client import RawClient, chat_request

HEALTH = b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n"
CHAT = chat_request({"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]})
MOST = 4


@pytest.fixture
async def crowded(fleet: Fleet, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> RunningGateway:
    """A gateway with a limit of four client connections."""
    monkeypatch.setattr(file_descriptors, "max_client_connections", lambda: MOST)
    gateway = await start_gateway(fleet.environment())
    gateway.fleet = fleet
    return gateway


@pytest.fixture
async def clients(crowded: RunningGateway) -> AsyncIterator[list[RawClient]]:
    """As many clients as allowed, in order of arrival; each has had a response."""
    async with AsyncExitStack() as stack:
        came = []
        for _ in range(MOST):
            came.append(await stack.enter_async_context(RawClient(crowded.url)))
            await came[-1].send(HEALTH)
            assert (await came[-1].read()).startswith(b"HTTP/1.1 200 ")
        yield came


async def test_the_one_that_was_idle_for_longest_makes_room(crowded: RunningGateway, clients: list[RawClient]) -> None:
    await clients[0].send(HEALTH)
    assert await clients[0].read()
    async with RawClient(crowded.url) as newcomer:
        await newcomer.send(CHAT)
        assert (await newcomer.read()).startswith(b"HTTP/1.1 200 ")
        assert await clients[1].read() == b""
        for other in (clients[0], *clients[2:]):
            await other.send(HEALTH)
            assert (await other.read()).startswith(b"HTTP/1.1 200 ")


async def test_half_a_head_is_no_work(crowded: RunningGateway, clients: list[RawClient]) -> None:
    for client in clients:
        await client.send(HEALTH[:-2])
    async with RawClient(crowded.url) as newcomer:
        await newcomer.send(HEALTH)
        assert (await newcomer.read()).startswith(b"HTTP/1.1 200 ")
    assert await clients[0].read() == b""


async def test_those_at_work_are_not_disturbed(
    crowded: RunningGateway, clients: list[RawClient], caplog: pytest.LogCaptureFixture
) -> None:
    assert crowded.fleet is not None
    for client in clients:
        crowded.fleet.openai.enqueue(Scenario(text="slow", first_byte_delay=2.0))
        await client.send(CHAT)
    await until(lambda: crowded.services.admission.active >= MOST)
    async with RawClient(crowded.url) as newcomer:
        assert await newcomer.read() == b""
    gc.collect()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
    for client in clients:
        answer = await client.read()
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"] == "slow"
    async with RawClient(crowded.url) as again:
        await again.send(HEALTH)
        assert (await again.read()).startswith(b"HTTP/1.1 200 ")


@pytest.fixture
def files() -> Iterator[int]:
    """Lower the soft limit of open files to that of a shell; yield the system's hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def enough(files: int) -> int:
    """The connection limit that the gateway derives from a limit of open files."""
    return min(files, 64 + 3 * file_descriptors.MAX_CLIENT_CONNECTIONS)


def test_a_third_of_the_files_is_for_clients(files: int) -> None:
    assert file_descriptors.max_client_connections() == 320
    file_descriptors.raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (enough(files), files)
    assert file_descriptors.max_client_connections() == (enough(files) - 64) // 3


async def test_workers_may_open_as_many_as_they_can_use(files: int, fleet: Fleet) -> None:
    async with gateway(**fleet.environment()) as running:
        limits = [resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in running.workers()]
    assert limits == [(enough(files), files)] * 2
