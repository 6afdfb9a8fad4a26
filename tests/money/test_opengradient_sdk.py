"""The OpenGradient SDK 1.1.4, unmodified and in its own environment, pays once per call (facts/x402.md 2.4-2.6)."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from gateway.billing.journal import State
from tests.money.paid_gateway import Json, PaidGateway
from tests.money.tls_front import tls_front
from tests.nitriding_daemon import NitridingDaemon, opened
from tools.chain.deployment import OPG, TEE_REGISTRY
from tools.chain.registry import TEERecord, register
from tools.chain.wallet import Wallet

HERE = Path(__file__).parent
SDK_PYTHON = HERE.parents[1] / ".venv-opengradient" / "bin" / "python"
CALLS = 8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SDK_PYTHON.exists() and os.environ.get("CI") != "true",
        reason="the OpenGradient SDK's environment .venv-opengradient is not here",
    ),
]


async def call_everything(shop: PaidGateway, told: dict[str, Any]) -> dict[str, Json]:
    """The answers by call. The SDK reads allowances and permit nonces through BASE_MAINNET_RPC."""
    process = await asyncio.create_subprocess_exec(
        str(SDK_PYTHON),
        str(HERE / "opengradient_payer.py"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "BASE_MAINNET_RPC": shop.chain.rpc_url},
    )
    output, _ = await process.communicate(json.dumps(told).encode() + b"\n")
    assert process.returncode == 0
    answers = [json.loads(line) for line in output.splitlines()]
    return {answer["call"]: answer for answer in answers}


async def check(shop: PaidGateway, answers: dict[str, Json], wallet: Wallet) -> None:
    """Every call answered, and paid exactly once."""
    assert len(answers) == CALLS
    assert all(answer["signature"] for answer in answers.values())
    assert all(answers[name]["text"] for name in ("completion", "chat", "chat, private", "stream"))
    assert answers["stream"]["final"]
    assert answers["tools"]["calls"]
    assert answers["tools, streamed"]["calls"]
    assert answers["picture"]["images"][0].startswith("data:image/")
    assert json.loads(answers["response_format"]["text"])["name"]
    transfers = await shop.transfers(OPG)
    entries = await shop.ended()
    assert {entry.state for entry in entries} == {State.SETTLED}
    assert sorted(transfer.amount for transfer in transfers) == sorted(entry.amount or 0 for entry in entries)
    assert len(transfers) == CALLS
    assert {transfer.payer for transfer in transfers} == {wallet.address}
    assert len(shop.facilitator.called("settle")) == CALLS


@pytest.mark.parametrize("approve", [True, False])
async def test_from_url(shop: PaidGateway, approve: bool) -> None:
    """Without an approval each payment brings a permit of its own."""
    wallet = await shop.wallet(approve=approve)
    answers = await call_everything(shop, {"key": wallet.key, "url": shop.url})
    await check(shop, answers, wallet)
    kinds = [call.headers["x-settlement-type"] for call in shop.facilitator.called("settle_data")]
    assert kinds == ["batch"] * (CALLS - 1), "all but the private one"


DAEMONS = [pytest.param(name, marks=pytest.mark.needs("go")) for name in ("nitriding", "nitriding_stand_in")]


@pytest.fixture(params=["tls", *DAEMONS])
async def front(request: pytest.FixtureRequest, shop: PaidGateway, tmp_path: Path) -> AsyncIterator[tuple[str, bytes]]:
    """What ends TLS before the gateway: its URL, and the DER of its certificate."""
    if request.param == "tls":
        async with tls_front(shop.url, tmp_path) as front:
            yield front
    else:
        async with NitridingDaemon(request.getfixturevalue(request.param), shop.url) as daemon:
            yield await opened(daemon)


async def test_through_a_registry_with_a_pinned_certificate(shop: PaidGateway, front: tuple[str, bytes]) -> None:
    wallet, operator = await shop.wallet(), await shop.chain.wallet()
    signer = shop.gateway.services.signer
    key = load_pem_public_key(signer.public_pem.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    url, certificate = front
    await register(shop.chain, operator, TEERecord(url, key, certificate, shop.payee))
    told = {"key": wallet.key, "rpc_url": shop.chain.rpc_url, "registry": TEE_REGISTRY}
    answers = await call_everything(shop, told)
    await check(shop, answers, wallet)
    assert answers["chat"]["tee_id"].removeprefix("0x") == signer.tee_id.removeprefix("0x")
