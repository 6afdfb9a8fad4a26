"""The real gvproxy between a gateway in its own network namespace and this machine, as between enclave and host.

Checks what image and launcher assume: the host's loopback is 192.168.127.254, and connections that the host forwards
come from 192.168.127.1.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

from gateway.billing.storage.records import encode_frame
from tests.enclave_boot.emulator import extract_gvproxy
from tests.enclave_boot.machine import expose, gvproxy_command
from tests.enclave_boot.paths import ROOT
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.needs("mmdebstrap", "unshare", "root")]

KEYS = {
    "openai_api_key": "sk-injected",
    "evm_payment_address": "0x" + "11" * 20,
    "facilitator_url": "http://127.0.0.1:9",
    "journal_key": "5a" * 32,
}


@pytest.fixture(scope="module")
def gvproxy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/net/tun")
    if (ROOT / "usr/bin/gvproxy").exists():
        return ROOT
    folder = tmp_path_factory.mktemp("gvproxy") / "root"
    extract_gvproxy(folder)
    return folder


@asynccontextmanager
async def program(
    *command: str | Path, stdin: int = DEVNULL, stdout: int = DEVNULL, stderr: int | None = None
) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=stdout, stderr=stderr)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@dataclass
class Link:
    """``url`` leads to port 8000 of the guest's TAP address; ``journal`` is the sink's folder."""

    url: str
    journal: Path


@pytest.fixture
async def link(gvproxy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Link]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    switch, control, journal = tmp_path / "switch.sock", tmp_path / "control.sock", tmp_path / "journal"
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        sink = (sys.executable, "-m", "tools.journal_sink", "--folder", journal, "--port", "0")
        kept = await stack.enter_async_context(program(*sink, stdout=PIPE))
        assert kept.stdout is not None
        port = (await kept.stdout.readline()).decode().strip().rstrip("/").rpartition(":")[2]
        command = gvproxy_command(switch, control, gvproxy_root)
        await stack.enter_async_context(program(*command, stderr=DEVNULL))
        await until(lambda: switch.exists() and control.exists())
        guest = ("unshare", "--net", sys.executable, "-m", "tests.nitro.tap_guest", switch, port)
        inside = await stack.enter_async_context(program(*guest, stdin=PIPE, stdout=PIPE))
        assert inside.stdout is not None
        assert await inside.stdout.readline() == b"serves\n"
        local = unused_port()
        await expose(control, local, 8000)
        yield Link(f"http://127.0.0.1:{local}", journal)


async def test_the_journal_leaves_and_the_keys_arrive(link: Link) -> None:
    [file] = link.journal.iterdir()
    assert file.read_bytes() == encode_frame(b"from inside")
    async with aiohttp.ClientSession(link.url) as session:
        async with session.get("/metrics") as metrics:
            assert metrics.status == 200, "the peer of the host link"
        async with session.post("/v1/keys", json=KEYS) as injected:
            assert injected.status == 200, await injected.text()
        async with session.get("/health/ready") as ready:
            reasons = (await ready.json())["reasons"]
        async with session.get("/health") as health:
            assert "warning" not in await health.json()
    assert any("the facilitator is not usable" in reason for reason in reasons)
    assert not any("journal" in reason for reason in reasons), "it was read back through gvproxy"
