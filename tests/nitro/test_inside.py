"""The built root file system under chroot: it uses nothing of this machine but the kernel."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from nitro.image.rootfs import CA_BUNDLE, ENVIRONMENT
from tools.simulators.fleet import Fleet
from tools.verify.claims import Verdict
from tools.verify.response import verify_response
from tools.verify.signing_key import load_signing_key

pytestmark = [pytest.mark.slow, pytest.mark.needs("apt-get", "dpkg-deb", "chroot", "root")]

CHROOT = shutil.which("chroot") or "chroot"
AS_GATEWAY = "exec start-stop-daemon -S -c gateway:gateway -x /usr/bin/python3 -- -I -B"
IMPORTS = (
    "import asyncio, bz2, ctypes, decimal, lzma, sqlite3, ssl, uuid\n"
    "import aiohttp, cbor2, coincurve, cryptography, msgspec, prometheus_client, tenacity, uvloop\n"
    "from aiohttp import _http_parser, _http_writer\n"
    "from Crypto.Hash import keccak\n"
    "from cryptography.hazmat.primitives.asymmetric import rsa\n"
    "import gateway.nitriding\n"
    "coincurve.PrivateKey(); rsa.generate_private_key(65537, 2048); keccak.new(digest_bits=256, data=b'')\n"
    "print(len(ssl.create_default_context().get_ca_certs()))\n"
)


def test_imports(root_folder: Path) -> None:
    done = subprocess.run(
        [CHROOT, str(root_folder), "/usr/bin/python3", "-I", "-B", "-c", IMPORTS],
        env={"SSL_CERT_FILE": f"/{CA_BUNDLE}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert int(done.stdout) > 100


def test_the_gateway_s_user_is_nobody_special(root_folder: Path) -> None:
    probe = "import os; print(os.getuid(), os.getgid(), os.getgroups())"
    done = subprocess.run(
        [CHROOT, str(root_folder), "/bin/sh", "-c", f"{AS_GATEWAY} -c '{probe}'"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("65532 65532 [65532]\n", "")


@pytest.fixture
async def served(root_folder: Path, fleet: Fleet) -> AsyncIterator[str]:
    """The gateway as started by start.sh, in the image's environment, with simulated upstreams outside."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    settings = {"API_SERVER_HOST": "127.0.0.1", "API_SERVER_PORT": str(port), "GATEWAY_PAYMENTS": "off"}
    process = await asyncio.create_subprocess_exec(
        *(CHROOT, str(root_folder), "/bin/sh", "-c", f"{AS_GATEWAY} -m gateway"),
        env={**ENVIRONMENT, **settings, **fleet.environment()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await until_healthy(url, process)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        printed, _ = await asyncio.wait_for(process.communicate(), timeout=30)
    assert process.returncode == 0, printed.decode()


async def until_healthy(url: str, process: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            assert process.returncode is None, "the gateway ended"
            try:
                async with session.get(f"{url}/health") as answer:
                    assert answer.status == 200
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)
    raise AssertionError("the gateway never answered")


async def test_a_signed_answer_from_inside(served: str) -> None:
    request = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Say hello"}]}
    async with aiohttp.ClientSession(served) as session:
        async with session.get("/health") as answer:
            health = await answer.json()
        async with session.get("/signing-key") as answer:
            key = load_signing_key(await answer.read())
        async with session.post("/v1/chat/completions", json=request) as answer:
            content = await answer.read()
            assert answer.status == 200, content
    assert (health["status"], health["tee_enabled"]) == ("ok", False)
    claims = verify_response(key, request, content)
    assert {claim.verdict for claim in claims} == {Verdict.PASS}, claims
