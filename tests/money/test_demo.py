"""``make demo-check``: everything that the demonstration prints works, and every answer is paid for."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from gateway.catalog import Catalog
from tools.demo.steps import REQUESTS

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
async def test_demo_check(catalog: Catalog, unused_tcp_port: int) -> None:
    """Behind a proxy too, which knows nothing of this machine's ports."""
    proxy = f"http://127.0.0.1:{unused_tcp_port}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tools.demo",
        "--check",
        cwd=REPOSITORY,
        env=os.environ | {"http_proxy": proxy, "HTTP_PROXY": proxy},
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
