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
from tools.demo.deployment import StartError, deploy
from tools.demo.every_model import BadAnswerError, ask_every_model
from tools.demo.steps import Step, demo_steps


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="run the printed commands, verify the answers, and exit")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"  # all requests are local
    try:
        return asyncio.run(check() if arguments.check else show())
    except (StartError, BadAnswerError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1


async def show() -> int:
    """Print the steps, run the first four, and wait for Ctrl-C."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    with tempfile.TemporaryDirectory(prefix="tee-gateway-") as folder:
        async with deploy(Path(folder)) as running:
            print(f"Base URL: {running.url}/v1 (payments required; the payer's key is in {folder}/payer.key)\n")
            steps = list(demo_steps(running.url, running.chain.rpc_url, Path(folder)))
            for step in steps:
                print(f"# {step.heading}\n{step.command}\n")
            print("The first four, run for you:\n", flush=True)
            for step in steps[:4]:
                await run(step)
            print("\nRunning until Ctrl-C.", flush=True)
            await stopped.wait()
    return 0


async def check() -> int:
    """Run every step, then pay every model."""
    verified = 0
    with tempfile.TemporaryDirectory(prefix="tee-gateway-") as folder:
        async with deploy(Path(folder)) as running:
            for step in demo_steps(running.url, running.chain.rpc_url, Path(folder)):
                if await run(step) != 0:
                    print(f"FAILED: {step.command}")
                    return 1
                verified += step.verifies
            verified += await ask_every_model(running.url, running.chain)
    print(f"OK {verified} answers verified")
    return 0


async def run(step: Step) -> int:
    """Print and run a step's command in a shell; return its exit status."""
    print(f"$ {step.command}", flush=True)
    shell = await asyncio.create_subprocess_shell(step.command)
    status = await shell.wait()
    print(flush=True)
    return status


if __name__ == "__main__":
    exit_with(main)
