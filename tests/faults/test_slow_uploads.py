"""Slow uploads fill the budget of request bodies: new requests are served, and no more uploads than needed end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from unittest.mock import Mock

import pytest
from aiohttp import StreamReader
from aiohttp.test_utils import make_mocked_request

from gateway.http_server.body import Body, BodyBudget
from gateway.openai_api.errors import GatewayError
from tests.running_gateway import RunningGateway, StartGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.soak.raw_client import RawClient, chat_request

BUDGET = 100_000


def chat(size: int, address: str) -> bytes:
    """A request with about ``size`` bytes of body, from ``address`` according to the local proxy."""
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x" * size}]}
    return chat_request(body, f"X-Forwarded-For: {address}", "Connection: close")


@pytest.fixture
async def gateway(fleet: Fleet, start_gateway: StartGateway) -> RunningGateway:
    gateway = await start_gateway(fleet.environment())
    gateway.services.bodies = BodyBudget(BUDGET)
    return gateway


class Upload:
    """A request whose last byte has not been sent."""

    def __init__(self, client: RawClient, request: bytes) -> None:
        self._client = client
        self._request = request

    async def begin(self) -> None:
        await self._client.send(self._request[:-1])

    async def end(self) -> int:
        """Send the last byte; return the status of the response."""
        await self._client.send(self._request[-1:])
        return await self.status()

    async def status(self) -> int:
        """The status of the response."""
        return int((await self._client.read()).split(b" ", 2)[1])


Begin = Callable[[int, str], Awaitable[Upload]]


@pytest.fixture
async def begin(gateway: RunningGateway) -> AsyncIterator[Begin]:
    """Start an upload, and return once it counts against the budget."""
    async with AsyncExitStack() as stack:

        async def upload(size: int, address: str) -> Upload:
            client = await stack.enter_async_context(RawClient(gateway.url))
            begun = Upload(client, chat(size, address))
            before = gateway.services.bodies._left
            await begun.begin()
            await until(lambda: gateway.services.bodies._left <= before - size)
            return begun

        yield upload
    await until(lambda: gateway.services.bodies._left >= BUDGET)
    assert not gateway.services.bodies.by_address


async def ask(gateway: RunningGateway, size: int, address: str) -> tuple[int, bytes]:
    """Status and body of the response to a request sent at once."""
    async with RawClient(gateway.url) as client:
        await client.send(chat(size, address))
        head, _, body = (await client.read_all()).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


@pytest.mark.parametrize("newcomer", ["203.0.113.2", "203.0.113.1"])
async def test_slow_uploads_of_one_client_keep_nobody_out(gateway: RunningGateway, begin: Begin, newcomer: str) -> None:
    slow = [await begin(30_000, "203.0.113.1") for _ in range(3)]
    status, body = await ask(gateway, 20_000, newcomer)
    assert (status, "choices" in json.loads(body)) == (200, True)
    assert await slow[0].status() == 503
    [address] = gateway.services.bodies.by_address.values()
    assert address.held == sum(upload.held for upload in address.uploads)
    assert [await upload.end() for upload in slow[1:]] == [200, 200]


async def test_the_address_that_holds_most_makes_room(gateway: RunningGateway, begin: Begin) -> None:
    small = await begin(35_000, "203.0.113.1")
    large = [await begin(29_000, "203.0.113.2") for _ in range(2)]
    assert (await ask(gateway, 20_000, "203.0.113.3"))[0] == 200
    assert await large[0].status() == 503
    assert [await upload.end() for upload in (small, large[1])] == [200, 200]


async def test_the_address_that_would_hold_most_makes_room(gateway: RunningGateway, begin: Begin) -> None:
    other, own = await begin(45_000, "203.0.113.1"), await begin(35_000, "203.0.113.2")
    assert (await ask(gateway, 30_000, "203.0.113.2"))[0] == 200
    assert await own.status() == 503
    assert await other.end() == 200


async def test_an_upload_that_ends_as_it_makes_room_has_made_room() -> None:
    """Its bytes no longer count."""
    content = StreamReader(Mock(), 2**16)
    budget = BodyBudget(BUDGET)
    body = Body(budget)
    reading = asyncio.create_task(body.read(make_mocked_request("POST", "/", payload=content), None))
    while not budget.by_address:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    content.feed_data(b"{}")
    content.feed_eof()
    body.evict()
    with pytest.raises(GatewayError) as refused:
        await reading
    assert refused.value.code == "overloaded"


async def test_what_has_been_uploaded_is_held_against_nobody(gateway: RunningGateway, begin: Begin) -> None:
    ended, small = await begin(60_000, "203.0.113.1"), await begin(20_000, "203.0.113.1")
    assert await ended.end() == 200
    large = [await begin(29_000, "203.0.113.2") for _ in range(2)]
    assert (await ask(gateway, 30_000, "203.0.113.3"))[0] == 200
    assert await large[0].status() == 503
    assert [await upload.end() for upload in (small, large[1])] == [200, 200]


async def test_who_has_sent_nothing_has_no_room_to_make(gateway: RunningGateway, begin: Begin) -> None:
    head, _, body = chat(100, "203.0.113.1").partition(b"\r\n\r\n")
    async with RawClient(gateway.url) as silent:
        await silent.send(head + b"\r\n\r\n")
        slow = [await begin(30_000, "203.0.113.1") for _ in range(3)]
        assert (await ask(gateway, 20_000, "203.0.113.2"))[0] == 200
        await silent.send(body)
        assert (await silent.read()).startswith(b"HTTP/1.1 200 ")
    assert await slow[0].status() == 503
    assert [await upload.end() for upload in slow[1:]] == [200, 200]


async def test_addresses_of_one_network_are_one(gateway: RunningGateway, begin: Begin) -> None:
    other = await begin(35_000, "203.0.113.1")
    many = [await begin(29_000, f"2001:db8::{number}") for number in range(2)]
    assert (await ask(gateway, 20_000, "203.0.113.3"))[0] == 200
    assert await many[0].status() == 503
    assert [await upload.end() for upload in (other, many[1])] == [200, 200]


async def test_who_would_have_to_make_room_for_himself_is_refused(gateway: RunningGateway, begin: Begin) -> None:
    other = await begin(30_000, "203.0.113.1")
    status, body = await ask(gateway, 80_000, "203.0.113.2")
    assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
    assert await other.end() == 200


async def test_no_more_uploads_end_than_must(gateway: RunningGateway, begin: Begin) -> None:
    slow = [await begin(9_000, "203.0.113.1") for _ in range(10)]
    assert (await ask(gateway, 20_000, "203.0.113.2"))[0] == 200
    assert [await upload.end() for upload in slow] == [503, 503] + [200] * 8
