"""npm's @x402/fetch, unmodified and with its spend controls on, pays for answers."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.event_streams import events
from tests.money.paid_gateway import CHAT_PATH, Json, PaidGateway, chat
from tools.chain.deployment import USDC

PACKAGE = Path(__file__).parent / "npm"

pytestmark = [pytest.mark.slow, pytest.mark.needs("node", "npm")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The payer with exactly the packages of its lock file."""
    folder = tmp_path_factory.mktemp("npm") / "payer"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True)
    return folder


async def pay(folder: Path, told: Json) -> Json:
    process = await asyncio.create_subprocess_exec(
        "node", "payer.mjs", cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(json.dumps(told).encode() + b"\n")
    assert process.returncode == 0
    answer: Json = json.loads(output)
    return answer


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("scheme", "approve"), [("exact", False), ("upto", True), ("upto", False)])
async def test_pays_once(shop: PaidGateway, installed: Path, scheme: str, approve: bool, stream: bool) -> None:
    wallet = await shop.wallet(approve=approve)
    told = {
        "key": wallet.key,
        "url": shop.url + CHAT_PATH,
        "rpcUrl": shop.chain.rpc_url,
        "scheme": scheme,
        "body": chat(stream=stream),
    }
    answer = await pay(installed, told)
    assert answer["status"] == 200, answer
    body = events(answer["body"].encode())[-1] if stream else json.loads(answer["body"])
    payment = body["payment"]
    [transfer] = await shop.paid()
    assert (payment["scheme"], payment["asset"], payment["status"]) == (scheme, USDC.address, "settled")
    assert (payment["transaction"], int(payment["amount"])) == (transfer.transaction, transfer.amount)
    assert await shop.balance() == transfer.amount
    if not stream or scheme == "exact":
        assert answer["response"]["transaction"] == transfer.transaction
    assert len(shop.facilitator.called("settle")) == 1
