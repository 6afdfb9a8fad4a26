"""``make demo-check``: everything that the demonstration prints works, and every answer is paid for."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer, TestServer

from gateway.catalog import Catalog
from tools.demo.steps import REQUESTS, demo_steps

REPOSITORY = Path(__file__).parents[2]


def behind_a_proxy(port: int) -> dict[str, str]:
    """The environment of a shell whose requests go there, those to this machine too."""
    proxy = f"http://127.0.0.1:{port}"
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    return environment | {"http_proxy": proxy, "HTTP_PROXY": proxy}


@pytest.mark.slow
async def test_demo_check(catalog: Catalog, unused_tcp_port: int) -> None:
    """Behind a proxy too, which knows nothing of this machine's ports."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tools.demo",
        "--check",
        cwd=REPOSITORY,
        env=behind_a_proxy(unused_tcp_port),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    answers = len(REQUESTS) + 2 * len(catalog.models)
    assert text.splitlines()[-1] == f"OK {answers} answers verified"
    assert "status 402" in text
    assert text.count("(settled)") == len(REQUESTS)
    held = [float(amount) for amount in re.findall(r"payee 0x\w+ holds .* ([\d.]+) OPG", text)]
    assert held[0] == 0 < held[1]


@pytest.mark.parametrize(
    "curl", [pytest.param(True, marks=pytest.mark.needs("curl"), id="curl"), pytest.param(False, id="without curl")]
)
async def test_the_unpaid_request_reaches_the_demo_from_a_shell_with_a_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_tcp_port: int, curl: bool
) -> None:
    if not curl:
        monkeypatch.setattr(shutil, "which", lambda name: None)

    async def unpaid(request: web.BaseRequest) -> web.Response:
        return web.Response(status=402)

    application = web.Application()
    application.router.add_post("/v1/chat/completions", unpaid)
    async with TestServer(application) as server:
        steps = list(demo_steps(str(server.make_url("")), "http://127.0.0.1:1", tmp_path))
        shell = await asyncio.create_subprocess_shell(
            steps[1].command,
            cwd=REPOSITORY,
            env=behind_a_proxy(unused_tcp_port),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await shell.communicate()
    assert output.decode().strip() == "status 402"


async def test_balances_of_an_address_that_is_not_the_chain(unused_tcp_port: int) -> None:
    """The gateway's, which the demonstration prints more prominently, or of a demonstration that has ended."""

    async def unknown(request: web.BaseRequest) -> web.Response:
        return web.json_response({"error": {"message": "Unknown URL", "code": "unknown_url"}}, status=404)

    async with RawTestServer(unknown) as server:
        for url in (str(server.make_url("/v1")), f"http://127.0.0.1:{unused_tcp_port}"):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tools.demo.balances", url), cwd=REPOSITORY, stderr=asyncio.subprocess.PIPE
            )
            _, error = await process.communicate()
            assert (process.returncode, error.count(b"\n")) == (3, 1)


def test_a_request_that_cannot_be_made_without_curl(tmp_path: Path, unused_tcp_port: int) -> None:
    url, request = f"http://127.0.0.1:{unused_tcp_port}", tmp_path / "request.json"
    request.write_text("{}", encoding="ascii")
    for arguments, status in (((url, request), 3), (("http://[", request), 2), ((url, tmp_path / "absent"), 2)):
        command = [sys.executable, "-m", "tools.demo.post", *map(str, arguments)]
        done = subprocess.run(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (status, 1)
