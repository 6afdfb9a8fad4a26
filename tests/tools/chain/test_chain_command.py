"""``python -m tools.chain``: starts, prints its description as JSON, and stops on SIGTERM."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tools.chain.deployment import PAYER, PERMIT2, USDC
from tools.chain.payments import Payment, upto_offer
from tools.chain.wallet import Wallet

REPOSITORY = Path(__file__).parents[3]


async def described(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    lines = b""
    while not lines.rstrip().endswith(b"\n}"):
        line = await process.stdout.readline()
        assert line, "the command ended before it described itself"
        lines += line
    parsed: dict[str, Any] = json.loads(lines)
    return parsed


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_command(http: aiohttp.ClientSession, signal_number: signal.Signals) -> None:
    """In a shell with a proxy too."""
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tools.chain",
        "--approve-permit2",
        cwd=REPOSITORY,
        env=environment | {"http_proxy": "http://127.0.0.1:9"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            facts = await described(process)
        assert facts["payer"] == PAYER.address
        assert facts["tokens"]["USDC"] == USDC.address
        allowance = f"0xdd62ed3e{PAYER.address[2:].rjust(64, '0')}{PERMIT2[2:].rjust(64, '0')}"
        request = {"id": 1, "method": "eth_call", "params": [{"to": USDC.address, "data": allowance}]}
        async with http.post(facts["rpc_url"], json=request) as response:
            assert int((await response.json())["result"], 16) == 2**256 - 1
        async with http.get(f"{facts['facilitator_url']}/supported") as response:
            assert (await response.json())["signers"]["eip155:*"] == [facts["facilitator"]]
        payment = await Payment.sign(Wallet(facts["payer_key"]), upto_offer(USDC, 1, facts["facilitator"]))
        async with http.post(f"{facts['facilitator_url']}/verify", json=payment.body()) as response:
            assert (await response.json())["isValid"]
    finally:
        process.send_signal(signal_number)
    async with asyncio.timeout(10):
        assert await process.wait() == 0
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.post(facts["rpc_url"], json=request)
