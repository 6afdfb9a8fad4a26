"""``python -m tools.simulators`` as a separate process."""

import asyncio
import json
import os
import signal
import sys

import aiohttp


async def test_it_prints_its_environment_and_stops_on_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.simulators", "--json", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        environment = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        assert set(environment) == {
            f"{vendor}_{what}"
            for vendor in ("OPENAI", "ANTHROPIC", "GOOGLE", "XAI", "ARK", "NOUS")
            for what in ("BASE_URL", "API_KEY")
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                environment["ARK_BASE_URL"] + "/chat/completions",
                json={"model": "seed-1-6-250915", "messages": [{"role": "user", "content": "hi"}]},
                headers={"Authorization": f"Bearer {environment['ARK_API_KEY']}"},
            ) as response,
        ):
            assert (await response.json())["choices"][0]["message"]["content"] == "You said: hi"
    finally:
        os.kill(process.pid, signal.SIGTERM)
        status = await asyncio.wait_for(process.wait(), 30)
    assert status == 0


async def test_it_prints_lines_for_a_shell() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.simulators", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
    finally:
        os.kill(process.pid, signal.SIGINT)
        await asyncio.wait_for(process.wait(), 30)
    assert line.startswith(b"export OPENAI_BASE_URL=http://127.0.0.1:")
