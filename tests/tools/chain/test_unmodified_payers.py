"""PyPI's httpx client pays a server built of PyPI's server classes; transfers are read from the chain."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.clients.httpx import x402HttpxClient
from x402.http.utils import (
    decode_payment_response_header,
    decode_payment_signature_header,
    encode_payment_required_header,
    encode_payment_response_header,
)
from x402.mechanisms.evm.exact import register_exact_evm_server
from x402.mechanisms.evm.upto import UptoEvmServerScheme
from x402.schemas import PaymentPayload, PaymentRequirements
from x402.server import x402ResourceServer

from tools.chain.deployment import NETWORK, OPG, USDC, Token
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.payments import exact_offer, payment_required, upto_offer
from tools.chain.wallet import Wallet

CHARGE = 1234


class PaidServer:
    """A server of one paid page: verify, settle CHARGE of an `upto` and all of an `exact`, answer."""

    def __init__(self, offer: PaymentRequirements, client: HTTPFacilitatorClient) -> None:
        self.offer = offer
        self.server = x402ResourceServer(client)
        register_exact_evm_server(self.server, NETWORK)
        upto: Any = UptoEvmServerScheme
        self.server.register(NETWORK, upto())
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        header = request.headers.get("PAYMENT-SIGNATURE")
        if header is None:
            return self._refuse("PAYMENT-SIGNATURE header is required")
        payload = decode_payment_signature_header(header)
        assert isinstance(payload, PaymentPayload)
        verdict = await self.server.verify_payment(payload, self.offer)
        if not verdict.is_valid:
            return self._refuse(verdict.invalid_reason or "")
        amount = str(CHARGE) if self.offer.scheme == "upto" else self.offer.amount
        settled = await self.server.settle_payment(payload, self.offer.model_copy(update={"amount": amount}))
        assert settled.success, settled
        return web.json_response({"sold": True}, headers={"PAYMENT-RESPONSE": encode_payment_response_header(settled)})

    def _refuse(self, reason: str) -> web.Response:
        required = payment_required(self.offer, url=self.url).model_copy(update={"error": reason})
        return web.json_response({}, status=402, headers={"PAYMENT-REQUIRED": encode_payment_required_header(required)})


@asynccontextmanager
async def open_paid_server(facilitator: LocalFacilitator, offer: PaymentRequirements) -> AsyncIterator[PaidServer]:
    async with HTTPFacilitatorClient(FacilitatorConfig(url=facilitator.url)) as client:
        paid = PaidServer(offer, client)
        await asyncio.to_thread(paid.server.initialize)
        app = web.Application()
        app.router.add_get("/", paid.handle)
        runner = web.AppRunner(app, max_field_size=16_384)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        paid.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            yield paid
        finally:
            await runner.cleanup()


async def buy(paid: PaidServer, wallet: Wallet, rpc_url: str | None = None) -> tuple[int, str]:
    """The status, and the transaction or the error."""
    async with x402HttpxClient(wallet.x402_client(rpc_url)) as client:
        response = await client.get(paid.url)
    if response.status_code == 200:
        assert json.loads(response.content) == {"sold": True}
        return 200, decode_payment_response_header(response.headers["PAYMENT-RESPONSE"]).transaction
    return response.status_code, ""


@pytest.mark.parametrize("token", [USDC, OPG], ids=lambda token: token.symbol)
async def test_exact_by_eip3009(chain: LocalChain, facilitator: LocalFacilitator, token: Token) -> None:
    wallet, payee = await chain.wallet(usdc=5000, opg=5000), Wallet().address
    async with open_paid_server(facilitator, exact_offer(token, 1000, payee=payee)) as paid:
        status, transaction = await buy(paid, wallet)
    assert status == 200
    assert [(each.amount, each.transaction) for each in await chain.transfers(token, payee=payee)] == [
        (1000, transaction)
    ]
    assert await chain.balance(token, wallet.address) == 4000


async def test_exact_by_permit2(chain: LocalChain, facilitator: LocalFacilitator) -> None:
    wallet, payee = await chain.wallet(usdc=5000, approve=True), Wallet().address
    async with open_paid_server(facilitator, exact_offer(USDC, 1000, method="permit2", payee=payee)) as paid:
        assert (await buy(paid, wallet))[0] == 200
    assert await chain.balance(USDC, payee) == 1000


async def test_exact_by_permit2_without_allowance_is_refused(chain: LocalChain, facilitator: LocalFacilitator) -> None:
    wallet, payee = await chain.wallet(usdc=5000), Wallet().address
    async with open_paid_server(facilitator, exact_offer(USDC, 1000, method="permit2", payee=payee)) as paid:
        assert (await buy(paid, wallet))[0] == 402
    [call] = facilitator.called("verify")
    assert call.answer["invalidReason"] == "permit2_allowance_required"
    assert await chain.balance(USDC, payee) == 0


@pytest.mark.parametrize("token", [USDC, OPG], ids=lambda token: token.symbol)
async def test_upto_charges_what_was_used(chain: LocalChain, facilitator: LocalFacilitator, token: Token) -> None:
    wallet, payee = await chain.wallet(usdc=9000, opg=9000, approve=True), Wallet().address
    async with open_paid_server(facilitator, upto_offer(token, 5000, facilitator.address, payee=payee)) as paid:
        assert (await buy(paid, wallet))[0] == 200
    assert await chain.balance(token, payee) == CHARGE
    assert await chain.balance(token, wallet.address) == 9000 - CHARGE


async def test_first_payment_brings_its_own_approval(chain: LocalChain, facilitator: LocalFacilitator) -> None:
    """Zero allowance and an EIP-2612 permit of the cap: the payer sends no transaction."""
    wallet, payee = await chain.wallet(opg=9000), Wallet().address
    sent = await chain.rpc("eth_getTransactionCount", wallet.address)
    async with open_paid_server(facilitator, upto_offer(OPG, 5000, facilitator.address, payee=payee)) as paid:
        assert (await buy(paid, wallet, chain.rpc_url))[0] == 200
    assert await chain.balance(OPG, payee) == CHARGE
    assert await chain.allowance(OPG, wallet.address) == 5000 - CHARGE
    assert await chain.permits_used(OPG, wallet.address) == 1
    assert await chain.rpc("eth_getTransactionCount", wallet.address) == sent


async def test_first_exact_payment_over_permit2_brings_its_own_approval(
    chain: LocalChain, facilitator: LocalFacilitator
) -> None:
    wallet, payee = await chain.wallet(usdc=9000), Wallet().address
    async with open_paid_server(facilitator, exact_offer(USDC, 700, method="permit2", payee=payee)) as paid:
        assert (await buy(paid, wallet, chain.rpc_url))[0] == 200
    assert await chain.balance(USDC, payee) == 700
    assert await chain.allowance(USDC, wallet.address) == 0
