"""A gateway with two workers, as a process of its own."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp


@dataclass
class GatewayProcess:
    """A gateway process with two workers. ``url`` has no trailing slash."""

    url: str
    process: asyncio.subprocess.Process
    log: list[str]

    def workers(self) -> list[int]:
        """The worker process ids."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="utf-8")
        return [int(pid) for pid in listed.split()]

    async def get(self, path: str) -> aiohttp.ClientResponse:
        """Use a new connection, so that the workers take turns."""
        async with aiohttp.ClientSession() as session:
            response = await session.get(self.url + path)
            await response.read()
            return response

    async def post(self, path: str, body: object) -> aiohttp.ClientResponse:
        async with aiohttp.ClientSession() as session:
            response = await session.post(self.url + path, json=body)
            await response.read()
            return response


@asynccontextmanager
async def gateway(**variables: str) -> AsyncIterator[GatewayProcess]:
    environment = {
        **os.environ,
        "API_SERVER_HOST": "127.0.0.1",
        "API_SERVER_PORT": "0",
        "GATEWAY_PAYMENTS": "off",
        "GATEWAY_WORKERS": "2",
        "GATEWAY_DRAIN_SECONDS": "5",
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    log: list[str] = []
    reading = asyncio.create_task(_read(process.stderr, log))
    try:
        async with asyncio.timeout(20):
            while not (found := re.search(r"listens on (\S+?)\"", "".join(log))):
                assert process.returncode is None, log
                await asyncio.sleep(0.02)
        yield GatewayProcess(f"http://{found[1]}", process, log)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(20):
            await process.wait()
        await reading


async def _read(stream: asyncio.StreamReader, log: list[str]) -> None:
    while line := await stream.readline():
        log.append(line.decode())
