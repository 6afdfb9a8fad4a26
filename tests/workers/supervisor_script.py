"""A script with a supervisor, run in a separate process because the supervisor installs signal handlers."""

import asyncio
import sys
import textwrap

PROLOGUE = """
import os, signal, sys, time
from gateway.workers.channel import Packet, send
from gateway.workers.supervisor import Supervisor

def serve(channel, injected):
    send(channel, Packet("ready"))
    while True:
        time.sleep(60)

fork, kill = os.fork, os.kill
forks = 0
"""


async def run(script: str) -> tuple[int | None, str]:
    """Exit status and output of ``script`` after the prologue; None if it does not exit."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROLOGUE + textwrap.dedent(script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        process_group=0,
    )
    try:
        async with asyncio.timeout(20):
            output, _ = await process.communicate()
            return process.returncode, output.decode()
    except TimeoutError:
        return None, ""
    finally:
        if process.returncode is None:
            await _end_group(process.pid)
            await process.wait()


async def _end_group(pid: int) -> None:
    ended = await asyncio.create_subprocess_exec("kill", "-9", "--", f"-{pid}")
    await ended.wait()
