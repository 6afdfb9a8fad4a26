"""The unmodified npm package ``openai`` as client of the gateway, for all OpenAI-shaped upstreams.

The test cases are in npm/cases.test.mjs.
"""

import asyncio
import os
import re
from pathlib import Path

import pytest

from tests.peers.conftest import NPM
from tests.running_gateway import RunningGateway

pytestmark = pytest.mark.slow

CASES = NPM / "cases.test.mjs"
MODELS = {"openai": "gpt-5.2", "xai": "grok-4.3", "bytedance": "seed-1.8", "nous": "hermes-4-405b"}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
async def test_every_case(node: Path, gateway: RunningGateway, model: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(node),
        "--test",
        "--test-reporter=tap",
        str(CASES),
        cwd=NPM,
        env={"PATH": os.environ["PATH"], "GATEWAY_URL": gateway.url, "MODEL": model},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 120)
    finally:
        if process.returncode is None:
            process.kill()
    report = output.decode()
    assert process.returncode == 0, report
    passed = re.search(r"^# pass (\d+)$", report, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) == len(re.findall(r'^test\("', CASES.read_text(encoding="utf-8"), re.MULTILINE))
