"""Waiting for what other tasks, threads and processes do."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object]) -> None:
    """Wait for ``condition``; TimeoutError after 20 s, since the machine may be under other load."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def run_ready_tasks() -> None:
    """Run every ready task."""
    for _ in range(5):
        await asyncio.sleep(0)
