"""The chain as a process: `python -m tools.chain.node`.

It prints one line of JSON, `{"rpc_url": …}`, once it listens, and ends on SIGTERM, SIGINT or the end of its standard
input, so that it never outlives the process that holds the other end. A process of its own, because the EVM is pure
Python: a transaction takes milliseconds in which no event loop would turn, and x402's own payer reads the chain with
blocking calls. This loop has nothing else to do, so calls run on it directly, which also puts them in order.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys

from aiohttp import web

from tools.chain.deployment import CHAIN_ID
from tools.chain.evm import Evm
from tools.chain.genesis import genesis_state
from tools.chain.rpc import Rpc
from tools.chain.rpc_error import PARSE_ERROR, RpcError
from tools.command_line import exit_with

HOST = "127.0.0.1"


def application(rpc: Rpc) -> web.Application:
    """`POST /` takes JSON-RPC 2.0, single or batched."""

    async def handle(request: web.Request) -> web.Response:
        try:
            answer = rpc.answer(await request.json())
        except json.JSONDecodeError:
            answer = {"jsonrpc": "2.0", "id": None, "error": RpcError(PARSE_ERROR, "parse error").json()}
        return web.json_response(answer)

    app = web.Application(client_max_size=8 * 2**20)
    app.router.add_post("/", handle)
    return app


async def serve() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    runner = web.AppRunner(application(Rpc(Evm(CHAIN_ID, genesis_state()))), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        bound = runner.addresses[0][1]
        print(json.dumps({"rpc_url": f"http://{HOST}:{bound}"}), flush=True)
        watcher = loop.create_task(_end_of_input(stop))
        await stop.wait()
        watcher.cancel()
    finally:
        await runner.cleanup()


async def _end_of_input(stop: asyncio.Event) -> None:
    """Sets `stop` at the end of standard input, where that is a pipe; a terminal or a file says nothing."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    with contextlib.suppress(ValueError):
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(sys.stdin.fileno(), "rb"))
        await reader.read()
        stop.set()


def main() -> None:
    asyncio.run(serve())


if __name__ == "__main__":
    exit_with(main)
