"""Waiting for what other tasks, threads and processes do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], object]) -> None:
    """Wait for ``condition``; TimeoutError after 20 s, since the machine may be under other load."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def until_answer(ask: Callable[[], Awaitable[T]], right: Callable[[T], object] = bool) -> T:
    """Ask until the answer is ``right``, and return it; TimeoutError after 20 s."""
    async with asyncio.timeout(20):
        while not right(answer := await ask()):
            await asyncio.sleep(0.02)
    return answer


async def run_ready_tasks() -> None:
    """Run every ready task."""
    for _ in range(5):
        await asyncio.sleep(0)
