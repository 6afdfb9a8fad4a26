"""A gateway with payments required, and payments for it that are signed before the measurement."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from x402.http.utils import decode_payment_required_header, encode_payment_signature_header
from x402.schemas import PaymentRequired

from gateway.billing.x402 import PAYMENT_REQUIRED
from tools.bench.servers import Server, gateway, serve
from tools.chain.deployment import PAYEE
from tools.chain.wallet import Wallet

PAID = "gateway_paid"
WALLETS = 16


@contextmanager
def paid_gateway(environment: Mapping[str, str]) -> Iterator[Server]:
    """The gateway with payments required, the stub facilitator, and a journal on disk."""
    command = [sys.executable, "-m", "tools.bench.facilitator", "{port}"]
    with serve("facilitator", command, {}, measured=False) as facilitator, TemporaryDirectory() as folder:
        settings = {
            "GATEWAY_PAYMENTS": "required",
            "EVM_PAYMENT_ADDRESS": PAYEE.address,
            "FACILITATOR_URL": facilitator.url,
            "GATEWAY_PRICE_URL": facilitator.url,
            "GATEWAY_JOURNAL": str(Path(folder) / "journal.sqlite3"),
        }
        with gateway(environment, PAID, settings) as server:
            yield server


def sign_payments(url: str, body: bytes, count: int) -> list[str]:
    """``count`` PAYMENT-SIGNATURE values for ``body``, signed with the x402 package by WALLETS payers in turn."""
    required = _required(url, body)
    offers = [offer for offer in required.accepts if offer.scheme == "upto"]
    narrowed = required.model_copy(update={"accepts": offers[:1]})
    clients = [Wallet().x402_client() for _ in range(WALLETS)]

    async def sign() -> list[str]:
        return [
            encode_payment_signature_header(await client.create_payment_payload(narrowed))
            for client in islice(cycle(clients), count)
        ]

    return asyncio.run(sign())


def _required(url: str, body: bytes) -> PaymentRequired:
    request = Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    try:
        build_opener(ProxyHandler({})).open(request).close()
    except HTTPError as error:
        with error:
            required = decode_payment_required_header(error.headers[PAYMENT_REQUIRED])
        if isinstance(required, PaymentRequired):
            return required
    raise ValueError("the gateway did not require a payment")
