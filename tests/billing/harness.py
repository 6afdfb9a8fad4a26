"""A gateway's billing beside a local chain and a real facilitator, and clients that pay it the way x402's own do."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from x402.schemas import PaymentPayload
from x402.schemas import PaymentRequired as StockRequired

from gateway.billing.definitions import Definitions, bundled
from gateway.billing.payment import Bill, Order, Receipt
from gateway.billing.payment_settings import PaymentSettings
from gateway.billing.payments import X402Payments
from gateway.billing.x402_payment import X402Payment
from gateway.catalog import bundled as catalogue
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.usage import Usage
from tools.chain.deployment import USDC, Token
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet

PATH = "/v1/chat/completions"
OPG_USD = "0.10"
CATALOG = catalogue()
DEFINITIONS = bundled()


def quick(**changes: Any) -> Definitions:
    """The definitions with a settlement that does not keep tests waiting; ``changes`` by section."""
    definitions = DEFINITIONS
    sections: dict[str, dict[str, Any]] = {
        "settlement": {"hold_seconds": 3.0, "retry_seconds": 0.2, "sweep_seconds": 0.3},
        "facilitator": {"verify_seconds": 2.0, "settle_seconds": 1.0, "job_seconds": 2.0, "poll_seconds": 0.02},
    }
    for section, values in changes.items():
        sections.setdefault(section, {}).update(values)
    replaced = {
        name: msgspec.structs.replace(getattr(definitions, name), **values) for name, values in sections.items()
    }
    return msgspec.structs.replace(definitions, **replaced)


@asynccontextmanager
async def price_source(answer: Callable[[web.Request], web.StreamResponse] | None = None) -> AsyncIterator[str]:
    """CoinGecko with one price; its base URL."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if answer is not None:
            return answer(request)
        address = request.query["contract_addresses"]
        return web.Response(text=f'{{"{address}":{{"usd":{OPG_USD}}}}}', content_type="application/json")

    app = web.Application()
    app.router.add_get("/simple/token_price/base", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def order(**changes: Any) -> Order:
    """A request that can cost a few cents at most."""
    fields: dict[str, Any] = {
        "path": PATH,
        "model": CATALOG.find("gpt-4.1"),
        "prompt_tokens": 1000,
        "output_tokens": 1000,
        "choices": 1,
        "images": 0,
        "stream": False,
        "headers": {},
        "resource_url": f"https://gw.example{PATH}",
    }
    return Order(**fields | changes)


def bill(cost_usd: str = "0.00123", **changes: Any) -> Bill:
    fields: dict[str, Any] = {
        "model": CATALOG.find("gpt-4.1"),
        "usage": Usage(prompt_tokens=10, completion_tokens=20),
        "cost_usd": Decimal(cost_usd),
        "complete": True,
        "request_hash": "0x" + "01" * 32,
        "output_hash": "0x" + "02" * 32,
        "signature": "c2ln",
        "timestamp": 1_795_000_000,
    }
    return Bill(**fields | changes)


@dataclass
class BillingHarness:
    """One gateway's payments, and what a client does with them."""

    chain: LocalChain
    facilitator: LocalFacilitator
    payments: X402Payments
    payee: str
    settings: PaymentSettings

    async def offer(self, order: Order) -> dict[str, Any]:
        """The decoded PAYMENT-REQUIRED of an unpaid request."""
        error = await refusal(self.payments, order)
        assert error.status == 402, error.message
        return required(error)

    async def pay(
        self,
        wallet: Wallet,
        order: Order,
        *,
        scheme: str = "upto",
        token: Token = USDC,
        method: str | None = None,
        offer: dict[str, Any] | None = None,
        sponsored: bool = False,
    ) -> Order:
        """The same request with a payment for one of its offers."""
        offer = offer or await self.offer(order)
        method = method or ("eip3009" if scheme == "exact" else "permit2")
        accepts = [
            each
            for each in offer["accepts"]
            if (each["scheme"], each["asset"], each["extra"]["assetTransferMethod"]) == (scheme, token.address, method)
        ]
        assert accepts, f"{scheme} {token.symbol} is not offered"
        narrowed = StockRequired.model_validate({**offer, "accepts": accepts})
        client = wallet.x402_client(self.chain.rpc_url if sponsored else None)
        payload = await asyncio.to_thread(lambda: asyncio.run(client.create_payment_payload(narrowed)))
        assert isinstance(payload, PaymentPayload)
        return with_payment(order, payload.model_dump(by_alias=True, exclude_none=True))

    async def admit(self, wallet: Wallet, order: Order, **how: Any) -> X402Payment:
        return await self.payments.admit(await self.pay(wallet, order, **how))

    async def balance(self, token: Token = USDC) -> int:
        """What the payee has been paid."""
        return await self.chain.balance(token, self.payee)


def with_payment(order: Order, payload: dict[str, Any]) -> Order:
    header = base64.b64encode(json.dumps(payload).encode()).decode()
    return msgspec.structs.replace(order, headers={**order.headers, "payment-signature": header})


def payload_of(order: Order) -> dict[str, Any]:
    """The decoded PAYMENT-SIGNATURE of a paid request."""
    decoded: dict[str, Any] = json.loads(base64.b64decode(order.headers["payment-signature"]))
    return decoded


async def refusal(payments: X402Payments, order: Order) -> GatewayError:
    """The error that a request is refused with."""
    try:
        await payments.admit(order)
    except GatewayError as error:
        return error
    raise AssertionError("the request was let in")


def required(error: GatewayError) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(base64.b64decode(error.headers["PAYMENT-REQUIRED"]))
    return decoded


def response(receipt: Receipt | GatewayError) -> dict[str, Any]:
    """The decoded PAYMENT-RESPONSE."""
    decoded: dict[str, Any] = json.loads(base64.b64decode(receipt.headers["PAYMENT-RESPONSE"]))
    return decoded


@asynccontextmanager
async def open_harness(
    chain: LocalChain,
    facilitator: LocalFacilitator,
    journal: Path,
    *,
    definitions: Definitions | None = None,
    payee: str | None = None,
    rpc: bool = True,
    drain: float = 1.0,
    **settings: Any,
) -> AsyncIterator[BillingHarness]:
    """Open for as long as the context lasts, and ``drain`` seconds to settle what is under way then.

    ``rpc`` says whether the gateway may read the chain.
    """
    payee = payee or Wallet().address
    async with price_source() as price_url:
        fields: dict[str, Any] = {
            "payee": payee,
            "facilitator_url": facilitator.url,
            "journal": journal,
            "mac_key": b"m" * 32,
            "rpc_url": chain.rpc_url if rpc else None,
            "price_url": price_url,
            "tee_id": "0x" + "07" * 32,
        }
        made = PaymentSettings(**fields | settings)
        payments = await X402Payments.open(made, CATALOG, definitions or quick())
        try:
            yield BillingHarness(chain, facilitator, payments, payee, made)
        finally:
            await payments.close(drain)
