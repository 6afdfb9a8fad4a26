"""PyPI's x402 httpx client, unmodified, pays for answers; what moved is read on the chain."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from x402 import x402Client
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner
from x402.mechanisms.evm.upto import UptoEvmClientScheme

from gateway.billing.pricing import atomic
from tests.event_streams import events
from tests.money.paid_gateway import CHAT_PATH, Json, PaidGateway, chat, decode_header
from tools.chain.deployment import OPG, USDC, Token
from tools.chain.wallet import Wallet
from tools.simulators.scenario import Scenario
from tools.verify.claims import Verdict
from tools.verify.response import verify_response
from tools.verify.signing_key import load_signing_key

# gpt-4.1: 2 and 8 USD per million tokens.
USED = Scenario(prompt_tokens=123, completion_tokens=45)
COST = Decimal("0.000606")
RATE = {OPG: Decimal("0.10"), USDC: Decimal(1)}


@dataclass(frozen=True)
class Payer:
    """A way of paying that a stock client takes by itself."""

    name: str
    client: Callable[[Wallet, str], x402Client]
    scheme: str
    token: Token
    approve: bool = True


def upto_opg(wallet: Wallet, rpc_url: str) -> x402Client:
    return wallet.x402_client()


def stock(wallet: Wallet, rpc_url: str) -> x402Client:
    """As it comes, spend controls and all: it knows no OPG, and pays a dollar at most."""
    signer = EthAccountSigner(wallet.account)
    client = x402Client()
    register_exact_evm_client(client, signer)
    return client.register("eip155:*", UptoEvmClientScheme(signer))


def exact_only(wallet: Wallet, rpc_url: str) -> x402Client:
    return register_exact_evm_client(x402Client(), EthAccountSigner(wallet.account))


def exact_permit2(wallet: Wallet, rpc_url: str) -> x402Client:
    client = exact_only(wallet, rpc_url)
    client.register_policy(
        lambda version, offers: [
            offer for offer in offers if (offer.get_extra() or {}).get("assetTransferMethod") == "permit2"
        ]
    )
    return client


def first_timer(wallet: Wallet, rpc_url: str) -> x402Client:
    return wallet.x402_client(rpc_url)


PAYERS = [
    Payer("upto OPG", upto_opg, "upto", OPG),
    Payer("upto USDC", stock, "upto", USDC),
    Payer("exact EIP-3009", exact_only, "exact", USDC, approve=False),
    Payer("exact Permit2", exact_permit2, "exact", USDC),
    Payer("upto OPG, first time", first_timer, "upto", OPG, approve=False),
]


def answer_of(response: httpx.Response) -> Json:
    """The body, or the last event of a stream."""
    if response.headers["Content-Type"].startswith("text/event-stream"):
        return events(response.content)[-1]
    body: Json = response.json()
    return body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("payer", PAYERS, ids=lambda payer: payer.name)
async def test_pays_once_and_gets_a_signed_answer(shop: PaidGateway, payer: Payer, stream: bool) -> None:
    wallet = await shop.wallet(approve=payer.approve)
    before = await shop.chain.balance(payer.token, wallet.address)
    shop.fleet.openai.enqueue(USED)
    request = chat(stream=stream)
    async with x402HttpxClient(payer.client(wallet, shop.chain.rpc_url)) as client:
        response = await client.post(shop.url + CHAT_PATH, json=request)
        key = load_signing_key((await client.get(f"{shop.url}/signing-key")).content)
    assert response.status_code == 200, response.text
    assert all(claim.verdict is Verdict.PASS for claim in verify_response(key, request, response.content))
    payment = answer_of(response)["payment"]
    [transfer] = await shop.paid()
    assert transfer == (await shop.transfers(payer.token))[0]
    assert (payment["status"], payment["transaction"]) == ("settled", transfer.transaction)
    assert (payment["scheme"], payment["asset"], payment["payer"]) == (
        payer.scheme,
        payer.token.address,
        wallet.address,
    )
    assert int(payment["amount"]) == transfer.amount == before - await shop.chain.balance(payer.token, wallet.address)
    assert Decimal(payment["cost_usd"]) == COST
    if payer.scheme == "upto":
        assert transfer.amount == atomic(COST, RATE[payer.token], payer.token.decimals)
        assert payment["price_basis"] == "usage"
    else:
        assert payment["price_basis"] == "maximum"
    if not stream or payer.scheme == "exact":
        settled = decode_header(response.headers["PAYMENT-RESPONSE"])
        assert (settled["success"], settled["transaction"]) == (True, transfer.transaction)
    else:
        assert "PAYMENT-RESPONSE" not in response.headers
    assert len(shop.facilitator.called("settle")) == 1
    assert len(shop.facilitator.called("verify")) == (0 if stream and payer.scheme == "exact" else 1)


async def test_openai_s_sdk_pays_through_it(shop: PaidGateway) -> None:
    request = chat()
    async with x402HttpxClient(stock(await shop.wallet(), "")) as payer:
        http: Any = payer  # openai's annotation names httpx2's client, its code takes httpx's too
        sdk = AsyncOpenAI(api_key="unused", base_url=f"{shop.url}/v1", http_client=http)
        answer = (await sdk.chat.completions.create(**request)).model_dump()
        stream = [chunk async for chunk in await sdk.chat.completions.create(**request, stream=True)]
        key = load_signing_key((await payer.get(f"{shop.url}/signing-key")).content)
    assert all(claim.verdict is Verdict.PASS for claim in verify_response(key, request, json.dumps(answer).encode()))
    paid = [answer["payment"], stream[-1].model_dump()["payment"]]
    assert [payment["transaction"] for payment in paid] == [transfer.transaction for transfer in await shop.paid()]


async def test_a_legacy_completion_is_paid_likewise(shop: PaidGateway) -> None:
    wallet = await shop.wallet()
    async with x402HttpxClient(stock(wallet, "")) as client:
        response = await client.post(
            f"{shop.url}/v1/completions", json={"model": "gpt-4.1", "prompt": "Once", "max_tokens": 20}
        )
    assert response.json()["completion"]
    assert int(response.json()["payment"]["amount"]) == await shop.balance()


async def test_an_unapproved_payer_without_a_permit_is_told(shop: PaidGateway) -> None:
    async with x402HttpxClient(stock(await shop.wallet(approve=False), "")) as client:
        response = await client.post(shop.url + CHAT_PATH, json=chat())
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (402, "permit2_allowance_required")
    assert "EIP-2612" in error["message"]
    assert not shop.fleet.openai.requests
    assert await shop.paid() == []
