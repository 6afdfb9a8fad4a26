"""`python -m tools.simulators [--json] [--serve-retired]`: serve until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import json
import shlex
import signal
from collections.abc import Sequence

from tools.command_line import exit_with
from tools.simulators.fleet import Fleet


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.simulators",
        description="Serve simulated upstreams on loopback until SIGTERM or Ctrl-C, and print how to reach them.",
    )
    parser.add_argument("--json", action="store_true", help="print the environment as one JSON object")
    parser.add_argument(
        "--serve-retired", action="store_true", help="also serve models that the vendors have shut down"
    )
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Fleet(keep=256, serve_retired=options.serve_retired) as fleet:
        environment = fleet.environment()
        if options.json:
            print(json.dumps(environment), flush=True)
        else:
            print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items()), flush=True)
        await stop.wait()


def main() -> None:
    import uvloop

    uvloop.run(serve(arguments()))


if __name__ == "__main__":
    exit_with(main)
