"""``python -m tools.journal_sink --file FILE [--host 127.0.0.1] [--port 8010]``.

The gateway inside appends with POST what must survive it, and reads all of it back with GET when it starts
(``gateway.billing.sink``). Each record is on disk before its POST is answered.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

MAX_RECORD_BYTES = 256 * 1024
_LENGTH_BYTES = 4


class SinkFile:
    """Records one after the other, each behind its length in four bytes, most significant first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, record: bytes) -> None:
        """Returns once the record is on disk."""
        os.write(self._descriptor, len(record).to_bytes(_LENGTH_BYTES, "big") + record)
        os.fsync(self._descriptor)

    def read(self) -> bytes:
        return self._path.read_bytes()

    def close(self) -> None:
        os.close(self._descriptor)


def application(sink: SinkFile) -> web.Application:
    """One path for everything: the URL given to the gateway."""
    lock = asyncio.Lock()

    async def append(request: web.Request) -> web.Response:
        record = await request.read()
        if not record:
            raise web.HTTPBadRequest(text="an empty record")
        async with lock:
            await asyncio.to_thread(sink.append, record)
        return web.Response()

    async def records(request: web.Request) -> web.Response:
        async with lock:
            return web.Response(body=await asyncio.to_thread(sink.read))

    app = web.Application(client_max_size=MAX_RECORD_BYTES)
    app.add_routes([web.post("/{path:.*}", append), web.get("/{path:.*}", records, allow_head=False)])
    return app


async def serve(sink: SinkFile, host: str, port: int) -> None:
    """Until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner = web.AppRunner(application(sink), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    print(f"http://{runner.addresses[0][0]}:{runner.addresses[0][1]}/", flush=True)
    await stopped.wait()
    await runner.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.journal_sink", description=__doc__)
    parser.add_argument("--file", required=True, type=Path, help="where the records are kept")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8010, type=int, help="0 lets the system choose; it is printed")
    arguments = parser.parse_args()
    try:
        sink = SinkFile(arguments.file)
    except OSError as error:
        sys.stderr.write(f"journal_sink: {error}\n")
        return 2
    try:
        asyncio.run(serve(sink, arguments.host, arguments.port))
    finally:
        sink.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
