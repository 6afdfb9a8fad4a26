"""Large requests take turns: in each iteration of the event loop one step of one of them, or of a few smaller ones."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.exchange import Exchange
from gateway.http_server.turns import LARGE_BYTES, TURN_BYTES, Turns
from gateway.openai_api.json_body import decode
from tests.running_gateway import RunningGateway


@pytest.fixture
async def steps(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[int]]:
    """The iterations of the event loop in which bodies are decoded, and requests admitted, which translates them."""
    iteration = 0
    seen: list[int] = []
    admit = Exchange.admit

    async def count() -> None:
        nonlocal iteration
        while True:
            iteration += 1
            await asyncio.sleep(0)

    def decoded(body: bytes) -> Any:
        seen.append(iteration)
        return decode(body)

    async def admitted(exchange: Exchange) -> None:
        seen.append(iteration)
        await admit(exchange)

    monkeypatch.setattr("gateway.endpoints.request_body.decode", decoded)
    monkeypatch.setattr(Exchange, "admit", admitted)
    counting = asyncio.create_task(count())
    yield seen
    counting.cancel()


def sent(path: str, text: str) -> dict[str, Any]:
    prompt = {"messages": [{"role": "user", "content": text}]} if "chat" in path else {"prompt": text}
    return {"model": "gpt-4.1", **prompt}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_others_are_served_between_the_steps_of_large_requests(
    gateway: RunningGateway, steps: list[int], path: str
) -> None:
    """Ten pictures of twenty megabytes at once kept all streams waiting for half a second."""
    large = sent(path, "x" * (TURN_BYTES // 2))
    answers = await asyncio.gather(*(gateway.post(path, large) for _ in range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    assert len(steps) == len(set(steps)) == 8


async def test_small_requests_do_not_wait(gateway: RunningGateway, steps: list[int]) -> None:
    await gateway.post("/v1/chat/completions", sent("chat", "x"))
    assert len(steps) == 2
    assert len(set(steps)) == 1


async def test_those_that_are_not_so_large_share_a_turn() -> None:
    """A hundred prompts of 200 KB, each with a turn of its own, waited for seconds on a busy loop."""
    turns = Turns()
    given: list[int] = []

    async def step(number: int, size: int) -> None:
        await turns.next(size)
        given.append(number)

    sizes = [TURN_BYTES // 4] * 6 + [20 * TURN_BYTES, LARGE_BYTES + 1]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step(number, size)) for number, size in enumerate(sizes)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        for expected in ([0, 2, 3, 4], [5], [6], [7]):
            await asyncio.sleep(0)
            assert given == expected
            given.clear()
