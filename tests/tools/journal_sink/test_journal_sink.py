"""The host's journal sink stores and returns what the gateway's client sends, and deletes what has expired."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.billing.definitions import bundled
from gateway.billing.storage.records import encode_frame
from gateway.billing.storage.sink import HttpSink, SinkUnavailableError
from tests.clocks import Clock
from tools.journal_sink.__main__ import KEPT_HOURS
from tools.journal_sink.hourly_log import HourlyLog

RECORDS = [b"one", b"\x00" * 1000, bytes(range(256))]
HOUR = 3600


async def start(folder: Path, *options: str) -> tuple[asyncio.subprocess.Process, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.journal_sink", "--folder", str(folder), "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return process, (await process.stdout.readline()).decode().strip()


async def read(source: AsyncIterator[bytes]) -> list[bytes]:
    return [each async for each in source]


async def test_records_survive_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    async with aiohttp.ClientSession() as session:
        for expected in ([], RECORDS):
            process, url = await start(folder)
            sink = HttpSink(session, url)
            assert await read(sink.records()) == expected
            if not expected:
                for record in RECORDS:
                    await sink.append(record)
            process.terminate()
            assert await process.wait() == 0
        with pytest.raises(SinkUnavailableError):
            await sink.append(b"late")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


async def test_many_at_once_are_all_kept(tmp_path: Path) -> None:
    process, url = await start(tmp_path / "journal")
    records = [f"record {number}".encode() * (number % 50 + 1) for number in range(300)]
    async with aiohttp.ClientSession() as session:
        sink = HttpSink(session, url)
        await asyncio.gather(*map(sink.append, records))
        assert sorted(await read(sink.records())) == sorted(records)
    process.terminate()
    await process.wait()


async def test_refuses_what_is_no_record(tmp_path: Path) -> None:
    process, url = await start(tmp_path / "journal")
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=b"") as empty, session.post(url, data=b"x" * 300_000) as large:
            assert (empty.status, large.status) == (400, 413)
        async with session.head(url) as head:
            assert (head.status, head.content_length) == (200, 0)
        assert await read(HttpSink(session, url).records()) == []
    process.terminate()
    await process.wait()


@pytest.mark.parametrize("options", [["--folder", "FILE"], ["--folder", "FILE/below"], ["--hours", "1"]])
async def test_unusable_options(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "FILE").touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.journal_sink", "--folder", str(tmp_path), "--port", "0"),
        *(option.replace("FILE", str(tmp_path / "FILE")) for option in options),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert b"Traceback" not in told
    assert b"journal_sink: " in told


async def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    holder, url = await start(tmp_path / "first")
    port = url.rstrip("/").rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.journal_sink", "--folder", str(tmp_path / "second"), "--port", port),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert told.count(b"\n") == 1
    holder.terminate()
    await holder.wait()


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


async def kept(log: HourlyLog) -> bytes:
    size, pieces = log.snapshot()
    content = b"".join(await read(pieces))
    assert len(content) == size
    return content


async def test_records_are_let_go_after_their_hours(tmp_path: Path, clock: Clock) -> None:
    """Not before: those of the end of an hour too are kept for all of them."""
    clock.now += HOUR - 1
    log = HourlyLog(tmp_path / "journal", 3, clock)
    for number in range(6):
        await log.append(b"%d" % number)
        clock.now += HOUR
    assert await kept(log) == b"".join(encode_frame(b"%d" % number) for number in (2, 3, 4, 5))
    clock.now += 2 * HOUR
    assert await kept(HourlyLog(tmp_path / "journal", 3, clock)) == encode_frame(b"5")
    clock.now += 1
    assert await kept(HourlyLog(tmp_path / "journal", 3, clock)) == b""
    assert list((tmp_path / "journal").iterdir()) == []


def test_they_are_kept_longer_than_an_authorization_is_good_for() -> None:
    assert 2 * bundled().deadlines.furthest_seconds < KEPT_HOURS * HOUR


def test_a_journal_keeps_finished_payments_for_as_long() -> None:
    """Those of a week would fill the memory of an enclave that takes two per second."""
    assert bundled().settlement.retain_seconds == KEPT_HOURS * HOUR


async def test_what_a_crash_cut_short_does_not_spoil_what_follows(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "journal"
    await HourlyLog(folder, 3, clock).append(b"whole")
    [file] = folder.iterdir()
    expected = encode_frame(b"whole")
    for torn in (encode_frame(b"torn")[:-1], encode_frame(b"torn")[:2], b"\x00"):
        with file.open("ab") as end:
            end.write(torn)
        assert await kept(HourlyLog(folder, 3, clock)) == expected
        await HourlyLog(folder, 3, clock).append(b"after")
        expected += encode_frame(b"after")
        assert await kept(HourlyLog(folder, 3, clock)) == expected


async def test_a_full_disk_refuses_and_spoils_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = HourlyLog(tmp_path / "journal", 3, clock)
    await log.append(b"before")
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 8:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as full:
        full.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space left"):
            await log.append(b"does not fit")
    await log.append(b"after")
    assert await kept(log) == encode_frame(b"before") + encode_frame(b"after")


async def test_a_full_disk_is_told_to_the_gateway_each_time_and_to_the_operator_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "journal"
    process, url = await start(folder)
    folder.rename(tmp_path / "moved away")
    async with aiohttp.ClientSession() as session:
        sink = HttpSink(session, url)
        for _ in range(3):
            with pytest.raises(SinkUnavailableError, match="returned status 507"):
                await sink.append(b"record")
        (tmp_path / "moved away").rename(folder)
        for _ in range(2):
            await sink.append(b"record")
    process.terminate()
    await process.wait()
    failing, again = capfd.readouterr().err.splitlines()
    assert failing.startswith("journal_sink: records cannot be stored: [Errno 2]")
    assert again == "journal_sink: records are stored again"


@pytest.mark.parametrize("options", [("--port", "65536"), ("--port", "-1"), ("--port", "0", "--host", "ho..st")])
async def test_an_address_that_is_none(tmp_path: Path, options: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.journal_sink", "--folder", str(tmp_path / "journal"), *options),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert b"Traceback" not in told
