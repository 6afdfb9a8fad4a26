"""``python -m tools.journal_sink --folder DIR``: where a gateway keeps what must survive it.

The gateway appends with POST, and reads all of it back with GET when it starts (``gateway.billing.storage.sink``).
Each record is on disk before its POST is answered. The records are sealed; this program can neither read nor forge one.
"""

import argparse
import asyncio
import re
import signal
import sys
from pathlib import Path

from aiohttp import web

from gateway.billing.storage.records import MAX_RECORD_BYTES
from tools.command_line import exit_with
from tools.journal_sink.hourly_log import HourlyLog

PORT = 8010
"""The port of ``gateway.deferred_payments.HOST_SINK``, which a gateway inside an enclave connects to."""
KEPT_HOURS = 6
"""No authorization is valid for more than the 70 minutes of ``deadlines.furthest_seconds`` in definitions.toml."""


def application(log: HourlyLog) -> web.Application:
    """POST appends a record and GET returns all of them, on any path. That records cannot be stored is told once."""
    failing = False

    async def append(request: web.Request) -> web.Response:
        nonlocal failing
        record = await request.read()
        if not record:
            raise web.HTTPBadRequest(text="an empty record")
        try:
            await log.append(record)
        except OSError as error:
            if not failing:
                print(f"journal_sink: records cannot be stored: {error}", file=sys.stderr, flush=True)
            failing = True
            raise web.HTTPInsufficientStorage from None
        if failing:
            print("journal_sink: records are stored again", file=sys.stderr, flush=True)
        failing = False
        return web.Response()

    async def records(request: web.Request) -> web.StreamResponse:
        size, chunks = log.snapshot()
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        if request.method == "GET":
            async for chunk in chunks:
                await response.write(chunk)
        await response.write_eof()
        return response

    app = web.Application(client_max_size=MAX_RECORD_BYTES)
    app.add_routes([web.post("/{path:.*}", append), web.get("/{path:.*}", records)])
    return app


async def serve(log: HourlyLog, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError if the port is in use."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner = web.AppRunner(application(log), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        print(f"http://{runner.addresses[0][0]}:{runner.addresses[0][1]}/", flush=True)
        await stopped.wait()
    finally:
        await runner.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.journal_sink", description=__doc__)
    parser.add_argument("--folder", required=True, type=Path, metavar="DIR", help="directory of the records")
    parser.add_argument("--hours", default=KEPT_HOURS, type=_hours, help="for how long; default %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="default %(default)s")
    parser.add_argument("--port", default=PORT, type=_port, help="default %(default)s; 0 lets the system choose")
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(HourlyLog(arguments.folder, arguments.hours), arguments.host, arguments.port))
    except (OSError, UnicodeError) as error:
        sys.stderr.write(f"journal_sink: {error}\n")
        return 2
    return 0


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError("not a port from 0 to 65535")
    return int(text)


def _hours(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError("not an integer of at least 2")
    return int(text)


if __name__ == "__main__":
    exit_with(main)
