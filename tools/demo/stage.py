"""What a demonstration stands on: simulated vendors, and the gateway as a process of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tools.simulators.fleet import Fleet

START_SECONDS = 60.0
STOP_SECONDS = 30.0


class StageError(Exception):
    """The gateway did not start; says why."""


@dataclass(frozen=True, slots=True)
class Stage:
    """``url`` is the gateway's, without a trailing slash."""

    url: str
    fleet: Fleet


@asynccontextmanager
async def stage(extra: Mapping[str, str] | None = None) -> AsyncIterator[Stage]:
    """Vendors and gateway on free ports of 127.0.0.1; both end with the context."""
    async with Fleet(serve_retired=True) as fleet:
        environment = {
            **os.environ,
            **fleet.environment(),
            "API_SERVER_HOST": "127.0.0.1",
            "API_SERVER_PORT": "0",
            "GATEWAY_PAYMENTS": "off",
            "GATEWAY_DRAIN_SECONDS": "5",
            **(extra or {}),
        }
        gateway = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", env=environment, stderr=asyncio.subprocess.PIPE
        )
        if gateway.stderr is None:
            raise StageError("the gateway has no log")
        try:
            async with asyncio.timeout(START_SECONDS):
                url = await _listening(gateway.stderr)
        except BaseException:
            await _stop(gateway)
            raise
        draining = asyncio.create_task(_discard(gateway.stderr))
        try:
            yield Stage(url, fleet)
        finally:
            await _stop(gateway)
            await draining


async def _listening(log: asyncio.StreamReader) -> str:
    """The address in the gateway's own log."""
    async for line in log:
        event = str(json.loads(line).get("event", "")) if line.startswith(b"{") else line.decode().strip()
        if " listens on " in event:
            return f"http://{event.rpartition(' ')[2]}"
        if line.startswith(b"gateway:"):
            raise StageError(event)
    raise StageError("the gateway ended before it listened")


async def _discard(log: asyncio.StreamReader) -> None:
    while await log.read(65536):
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
