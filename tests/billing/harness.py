"""A gateway's billing beside a local chain and a real facilitator, and clients that pay it the way x402's own do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from gateway.billing.definitions import Definitions, bundled
from gateway.billing.payment import Bill, Order, Receipt
from gateway.billing.payment_settings import PaymentSettings
from gateway.billing.payments import X402Payments
from gateway.billing.x402_payment import X402Payment
from gateway.catalog import bundled as catalogue
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.usage import Usage
from gateway.signing import Envelope
from tests.money.paid_gateway import decode_header, encode_header, sign
from tools.chain.deployment import USDC, Token
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.demo.price_source import PriceSource

PATH = "/v1/chat/completions"
CATALOG = catalogue()
DEFINITIONS = bundled()
DOLLAR = 10**6
"""In atomic units of USDC."""


def quick(**changes: Any) -> Definitions:
    """The definitions, but what is done again is so at once; ``changes`` by section."""
    definitions = DEFINITIONS
    sections: dict[str, dict[str, Any]] = {
        "settlement": {"retry_seconds": 0.2, "sweep_seconds": 0.3},
        "facilitator": {"poll_seconds": 0.02},
    }
    for section, values in changes.items():
        sections.setdefault(section, {}).update(values)
    replaced = {
        name: msgspec.structs.replace(getattr(definitions, name), **values) for name, values in sections.items()
    }
    return msgspec.structs.replace(definitions, **replaced)


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


ENVELOPE = Envelope(
    request_hash="01" * 32,
    output_hash="02" * 32,
    signature="c2ln",
    timestamp=1_795_000_000,
    tee_id="0x" + "07" * 32,
)


def bill(cost_usd: str = "0.00123", **changes: Any) -> Bill:
    fields: dict[str, Any] = {
        "model": CATALOG.find("gpt-4.1"),
        "usage": Usage(prompt_tokens=10, completion_tokens=20),
        "cost_usd": Decimal(cost_usd),
        "envelope": ENVELOPE,
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
        signature = await sign(
            wallet,
            offer or await self.offer(order),
            scheme=scheme,
            token=token,
            method=method,
            rpc_url=self.chain.rpc_url if sponsored else None,
        )
        return with_header(order, signature)

    async def admit(self, wallet: Wallet, order: Order, **how: Any) -> X402Payment:
        return await self.payments.admit(await self.pay(wallet, order, **how))

    async def balance(self, token: Token = USDC) -> int:
        """What the payee has been paid."""
        return await self.chain.balance(token, self.payee)


def with_payment(order: Order, payload: dict[str, Any]) -> Order:
    return with_header(order, encode_header(payload))


def with_header(order: Order, signature: str) -> Order:
    """The same request with a PAYMENT-SIGNATURE."""
    return msgspec.structs.replace(order, headers={**order.headers, "payment-signature": signature})


def payload_of(order: Order) -> dict[str, Any]:
    """The decoded PAYMENT-SIGNATURE of a paid request."""
    return decode_header(order.headers["payment-signature"])


async def refusal(payments: X402Payments, order: Order) -> GatewayError:
    """The error that a request is refused with."""
    try:
        await payments.admit(order)
    except GatewayError as error:
        return error
    raise AssertionError("the request was let in")


def required(error: GatewayError) -> dict[str, Any]:
    """The decoded PAYMENT-REQUIRED."""
    return decode_header(error.headers["PAYMENT-REQUIRED"])


def response(receipt: Receipt | GatewayError) -> dict[str, Any]:
    """The decoded PAYMENT-RESPONSE."""
    return decode_header(receipt.headers["PAYMENT-RESPONSE"])


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
    async with PriceSource() as prices:
        fields: dict[str, Any] = {
            "payee": payee,
            "facilitator_url": facilitator.url,
            "journal": journal,
            "max_usd": Decimal("1.00"),
            "mac_key": b"m" * 32,
            "rpc_url": chain.rpc_url if rpc else None,
            "price_url": prices.url,
        }
        made = PaymentSettings(**fields | settings)
        payments = await X402Payments.open(made, CATALOG, definitions or quick())
        try:
            yield BillingHarness(chain, facilitator, payments, payee, made)
        finally:
            await payments.close(drain)
