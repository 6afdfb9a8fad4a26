"""``python -m tools.demo``: simulated vendors, a local chain with a facilitator and a gateway, up until Ctrl-C."""

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

from tools.command_line import exit_with
from tools.demo.every_model import BadAnswerError, ask_every_model
from tools.demo.lines import Line, demo_lines
from tools.demo.stage import StageError, stage


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="run the printed lines, verify the answers, and end")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"  # all that is asked is on this machine
    try:
        return asyncio.run(check() if arguments.check else show())
    except (StageError, BadAnswerError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1


async def show() -> int:
    """Print the lines and stay up until Ctrl-C."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    with tempfile.TemporaryDirectory(prefix="tee-gateway-") as folder:
        async with stage(Path(folder)) as running:
            print(f"Base URL: {running.url}/v1 (payments required; the payer's key is in {folder}/payer.key)\n")
            lines = list(demo_lines(running.url, running.chain.rpc_url, Path(folder)))
            for line in lines:
                print(f"# {line.heading}\n{line.command}\n")
            print("The first four, run for you:\n", flush=True)
            for line in lines[:4]:
                await run(line)
            print("\nUp until Ctrl-C.", flush=True)
            await stopped.wait()
    return 0


async def check() -> int:
    """Run every printed line, then pay every model for one answer."""
    verified = 0
    with tempfile.TemporaryDirectory(prefix="tee-gateway-") as folder:
        async with stage(Path(folder)) as running:
            for line in demo_lines(running.url, running.chain.rpc_url, Path(folder)):
                if await run(line) != 0:
                    print(f"FAILED: {line.command}")
                    return 1
                verified += line.verifies
            verified += await ask_every_model(running.url, running.chain)
    print(f"OK {verified} answers verified")
    return 0


async def run(line: Line) -> int:
    """Show and run one line as a person would; its exit status."""
    print(f"$ {line.command}", flush=True)
    shell = await asyncio.create_subprocess_shell(line.command)
    status = await shell.wait()
    print(flush=True)
    return status


if __name__ == "__main__":
    exit_with(main)
