"""``python -m tools.top URL``: exit 0 ended by Ctrl-C or after one frame, 2 usage, 3 unreachable."""

import argparse
import sys
import time
from contextlib import suppress

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tools.command_line import exit_with
from tools.top.rates import Window
from tools.top.scrape import fetch
from tools.top.screen import frame
from tools.verify.claims import one_line
from tools.verify.errors import UnreachableError, UsageError
from tools.verify.fetch import origin


def main() -> int:
    """See ``--help``."""
    arguments = _arguments()
    console = Console(width=arguments.width)
    try:
        window = Window(fetch(arguments.url, time.monotonic()))
    except UnreachableError as error:
        sys.stderr.write(f"top: {one_line(str(error))}\n")
        return error.exit_code
    if arguments.once or not console.is_terminal:
        console.print(frame(arguments.url, window))
        return 0
    with suppress(KeyboardInterrupt):
        _watch(console, arguments.url, window, arguments.interval)
    return 0


def _watch(console: Console, url: str, window: Window, interval: float) -> None:
    """Refresh until interrupted. While the gateway is unreachable, its error is shown."""
    with Live(frame(url, window), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            try:
                window = Window(fetch(url, time.monotonic()), window.now)
            except UnreachableError as error:
                live.update(Text(one_line(str(error)), "bold red"), refresh=True)
            else:
                live.update(frame(url, window), refresh=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.top",
        description="A running gateway, live: traffic, errors by domain, latencies, upstreams, payments, trust. "
        "Metrics are only served to the gateway's own host: run it there, or forward the port over SSH.",
    )
    parser.add_argument("url", metavar="URL", nargs="?", default="http://127.0.0.1:8000", help="default %(default)s")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="default %(default)g")
    parser.add_argument(
        "--once",
        action="store_true",
        help="print one frame of the totals since the start and exit; the default if the output is not a terminal",
    )
    parser.add_argument("--width", type=int, metavar="COLUMNS", help="default: the terminal's")
    arguments = parser.parse_args()
    try:
        origin(arguments.url)
    except UsageError as error:
        parser.error(str(error))
    if not 0.1 <= arguments.interval <= 3600:
        parser.error("--interval must be from 0.1 to 3600 seconds")
    return arguments


if __name__ == "__main__":
    exit_with(main)
