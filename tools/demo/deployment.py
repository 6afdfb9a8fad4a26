"""Start the demo's processes: simulated vendors, a local chain with a facilitator, and the gateway."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.chain.deployment import PAYEE
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.demo.price_source import PriceSource
from tools.simulators.fleet import Fleet

START_SECONDS = 60.0
STOP_SECONDS = 30.0


class StartError(Exception):
    """The gateway did not start; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """``url`` is the gateway's, without a trailing slash."""

    url: str
    chain: LocalChain


@asynccontextmanager
async def deploy(folder: Path) -> AsyncIterator[Deployment]:
    """Start everything on free ports of 127.0.0.1, with the journal in ``folder``, until the context exits."""
    async with (
        Fleet(serve_retired=True) as fleet,
        LocalChain() as chain,
        LocalFacilitator(chain.rpc_url) as facilitator,
        PriceSource() as prices,
    ):
        environment = {
            **os.environ,
            **fleet.environment(),
            "API_SERVER_HOST": "127.0.0.1",
            "API_SERVER_PORT": "0",
            "GATEWAY_PAYMENTS": "required",
            "EVM_PAYMENT_ADDRESS": PAYEE.address,
            "FACILITATOR_URL": facilitator.url,
            "GATEWAY_RPC_URL": chain.rpc_url,
            "GATEWAY_PRICE_URL": prices.url,
            "GATEWAY_JOURNAL": str(folder / "journal.sqlite3"),
            "GATEWAY_DRAIN_SECONDS": "5",
        }
        async with gateway_process(environment) as (url, _):
            yield Deployment(url, chain)


@asynccontextmanager
async def gateway_process(
    environment: Mapping[str, str], *, module: str = "gateway"
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run ``python -m gateway`` with exactly this environment. Yields its base URL and the process, which is terminated
    on exit. Raises StartError."""
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert gateway.stderr is not None  # noqa: S101
    try:
        async with asyncio.timeout(START_SECONDS):
            url = await _wait_until_listening(gateway.stderr)
    except BaseException:
        await _stop(gateway)
        raise
    draining = asyncio.create_task(_discard(gateway.stderr))
    try:
        yield url, gateway
    finally:
        await _stop(gateway)
        await draining


async def _wait_until_listening(log: asyncio.StreamReader) -> str:
    """The base URL, from the gateway's log. Raises StartError."""
    async for line in log:
        event = str(json.loads(line).get("event", "")) if line.startswith(b"{") else line.decode().strip()
        if " listens on " in event:
            return f"http://{event.rpartition(' ')[2]}"
        if line.startswith(b"gateway:"):
            raise StartError(event)
    raise StartError("the gateway exited before it was listening")


async def _discard(log: asyncio.StreamReader) -> None:
    while await log.read(65536):
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
