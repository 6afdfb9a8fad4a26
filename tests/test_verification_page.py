"""docs/verification.md: its commands let a client send its prompt to the attested certificate only."""

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.catalog import Catalog
from gateway.signing import Signer
from tests.enclave import enclave
from tests.nitriding_double import MEASUREMENTS, NitridingDouble

ROOT = Path(__file__).parent.parent
REQUEST = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "a secret"}]}
REACHED = "provider_not_configured"
ASK = "print(client.with_options(max_retries=0).models.list().data[0].id)"

pytestmark = pytest.mark.needs("openssl", "curl")


def snippet(language: str) -> str:
    """The block of that language between the markers."""
    page = (ROOT / "docs" / "verification.md").read_text(encoding="utf-8")
    marked = page.partition("<!-- pin: begin -->")[2].partition("<!-- pin: end -->")[0]
    found = re.search(rf"```{language}\n(.*?)```", marked, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
async def node(tmp_path: Path, signer: Signer, catalog: Catalog) -> AsyncIterator[NitridingDouble]:
    """An enclave; the files that the commands read are in ``tmp_path``."""
    (tmp_path / "node").mkdir()
    async with NitridingDouble(tmp_path / "node") as daemon, enclave(daemon, signer, catalog):
        (tmp_path / "request.json").write_text(json.dumps(REQUEST))
        (tmp_path / "measurements.txt").write_text(json.dumps(MEASUREMENTS))
        (tmp_path / "root.pem").write_bytes(daemon.hypervisor.root.public_bytes(Encoding.PEM))
        yield daemon


@asynccontextmanager
async def intercepting(node: NitridingDouble, folder: Path) -> AsyncIterator[NitridingDouble]:
    """Somebody with another certificate, who passes everything on to ``node`` and returns its documents."""
    folder.mkdir()
    async with NitridingDouble(folder, node.hypervisor, application=node.application) as proxy:
        proxy.stated = {"tls_certificate": node.certificate, "app_key_hash": node.key_hash}
        async with aiohttp.ClientSession() as session, session.get(f"{proxy.internal_url}/enclave/ready"):
            yield proxy


async def run(folder: Path, *command: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "*", "no_proxy": "*"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def shell(folder: Path, commands: str, at: NitridingDouble) -> tuple[int, str]:
    commands = commands.replace("NODE:443", at.public_url.removeprefix("https://"))
    commands = commands.replace("python -m", f"{shlex.quote(sys.executable)} -m")
    return await run(folder, "sh", "-c", commands.replace("--cert", "--root root.pem --cert"))


async def python(folder: Path, at: NitridingDouble) -> tuple[int, str]:
    code = snippet("python").replace("NODE:443", at.public_url.removeprefix("https://")) + ASK
    return await run(folder, sys.executable, "-c", code)


async def test_the_prompt_reaches_the_attested_certificate(node: NitridingDouble, tmp_path: Path) -> None:
    status, told = await shell(tmp_path, snippet("sh"), node)
    assert status == 0, told
    assert "PASS tls_cert" in told
    assert REACHED in told
    status, told = await python(tmp_path, node)
    assert status == 0, told


async def test_somebody_in_between_gets_no_prompt(node: NitridingDouble, tmp_path: Path) -> None:
    """Neither at the first connection, nor at a later one with the certificate that was verified."""
    async with intercepting(node, tmp_path / "proxy") as proxy:
        status, told = await shell(tmp_path, snippet("sh"), proxy)
        assert status == 1, told
        assert "FAIL tls_cert" in told
        assert REACHED not in told
        assert (await shell(tmp_path, snippet("sh"), node))[0] == 0
        _, _, send = snippet("sh").partition("&&\n")
        status, told = await shell(tmp_path, send, proxy)
        assert status == 60, told
        assert (await python(tmp_path, proxy))[0] != 0
