"""A gateway whose standard error nobody reads any more: it serves and ends as if somebody did."""

import asyncio
import os
import sys

import aiohttp
import pytest

PIPE_LINES = 400
"""More request lines than a pipe of 64 KiB holds."""


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_logs_that_nobody_reads_stop_nothing(workers: str) -> None:
    environment = {
        **os.environ,
        "API_SERVER_HOST": "127.0.0.1",
        "API_SERVER_PORT": "0",
        "GATEWAY_PAYMENTS": "off",
        "GATEWAY_WORKERS": workers,
        "OPENAI_API_KEY": "sk-unused",
    }
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway", env=environment, stderr=writer)
    try:
        async with asyncio.timeout(30):
            log = b""
            while b"DISABLED" not in log:
                log += await asyncio.to_thread(os.read, reader, 4096)
            url = log.split(b"listens on ")[1].split(b'"')[0].decode()
            async with aiohttp.ClientSession() as session:
                for _ in range(PIPE_LINES):
                    async with session.get(f"http://{url}/health") as response:
                        assert response.status == 200
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(writer)
        os.close(reader)
