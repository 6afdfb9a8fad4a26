"""The host's side of the journal takes and gives back what the gateway's side sends."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import pytest

from gateway.billing.sink import HttpSink, SinkUnavailableError

RECORDS = [b"one", b"\x00" * 1000, bytes(range(256))]


async def start(path: Path) -> tuple[asyncio.subprocess.Process, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.journal_sink", "--file", str(path), "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return process, (await process.stdout.readline()).decode().strip()


async def test_records_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with aiohttp.ClientSession() as session:
        for expected in ([], RECORDS):
            process, url = await start(path)
            sink = HttpSink(session, url)
            assert await sink.records() == expected
            if not expected:
                for record in RECORDS:
                    await sink.append(record)
            process.terminate()
            assert await process.wait() == 0
        with pytest.raises(SinkUnavailableError):
            await sink.append(b"late")
    assert path.stat().st_mode & 0o777 == 0o600


async def test_refuses_what_is_no_record(tmp_path: Path) -> None:
    process, url = await start(tmp_path / "journal")
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=b"") as empty, session.post(url, data=b"x" * 300_000) as large:
            assert (empty.status, large.status) == (400, 413)
        assert await HttpSink(session, url).records() == []
    process.terminate()
    await process.wait()


async def test_unusable_file(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.journal_sink", "--file", str(tmp_path), stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert told.startswith(b"journal_sink: ")
