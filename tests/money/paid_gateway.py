"""A gateway that takes payments, with everything around it real but the vendors: chain, facilitator, journal."""

import asyncio
import base64
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from x402.http.utils import encode_payment_signature_header
from x402.schemas import PaymentRequired

from gateway.billing.journal import UNFINISHED, Entry, State, decode_entry
from tests.event_streams import events
from tests.running_gateway import RunningGateway
from tests.waiting import until_answer
from tools.chain.deployment import OPG, USDC, Token
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain, Transfer
from tools.chain.wallet import Wallet
from tools.demo.price_source import PriceSource
from tools.simulators.fleet import Fleet

Json = dict[str, Any]
CHAT_PATH = "/v1/chat/completions"


def chat(text: str = "Hello", model: str = "gpt-4.1", **parameters: Any) -> Json:
    """A request that can cost a few cents at most."""
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 1000, **parameters}


@dataclass
class PaidGateway:
    """``payee`` is paid by nobody else, so that its balance is what this gateway took. Amounts are atomic units."""

    gateway: RunningGateway
    fleet: Fleet
    chain: LocalChain
    facilitator: LocalFacilitator
    prices: PriceSource
    payee: str
    journal: Path

    @property
    def url(self) -> str:
        return self.gateway.url

    async def post(
        self, body: Json, payment: str | None = None, *, path: str = CHAT_PATH, **options: Any
    ) -> aiohttp.ClientResponse:
        """POST with or without a PAYMENT-SIGNATURE; the answer's body is read."""
        headers = {} if payment is None else {"PAYMENT-SIGNATURE": payment}
        return await self.gateway.post(path, body, headers=headers, **options)

    async def required(self, body: Json, *, path: str = CHAT_PATH) -> Json:
        """The decoded PAYMENT-REQUIRED that an unpaid request is answered with."""
        response = await self.post(body, path=path)
        assert response.status == 402, await response.text()
        return decode_header(response.headers["PAYMENT-REQUIRED"])

    async def sign(self, wallet: Wallet, body: Json, *, path: str = CHAT_PATH, **which: Any) -> str:
        """A PAYMENT-SIGNATURE for ``body``, for the offer that ``which`` (see ``sign``) names."""
        return await sign(wallet, await self.required(body, path=path), **which)

    async def pay(self, wallet: Wallet, body: Json, *, path: str = CHAT_PATH, **which: Any) -> aiohttp.ClientResponse:
        """The unpaid request, and the same again with a payment."""
        return await self.post(body, await self.sign(wallet, body, path=path, **which), path=path)

    async def wallet(self, *, usdc: int = 10**6, opg: int = 10**20, approve: bool = True) -> Wallet:
        """A payer with a dollar and a hundred OPG, Permit2 approved for both or for none."""
        return await self.chain.wallet(usdc=usdc, opg=opg, approve=approve)

    async def balance(self, token: Token = USDC) -> int:
        return await self.chain.balance(token, self.payee)

    async def transfers(self, token: Token = USDC) -> list[Transfer]:
        return await self.chain.transfers(token, payee=self.payee)

    async def paid(self) -> list[Transfer]:
        """Everything that the payee was ever paid, in any token."""
        return [*await self.transfers(USDC), *await self.transfers(OPG)]

    async def entries(self) -> list[Entry]:
        return await asyncio.to_thread(read_journal, self.journal)

    async def ended(self) -> list[Entry]:
        """The journal once every payment in it has come to its end."""
        return await until_answer(
            self.entries, lambda entries: not any(entry.state in UNFINISHED or entry.unserved for entry in entries)
        )

    async def states(self) -> list[State]:
        return [entry.state for entry in await self.ended()]


async def sign(
    wallet: Wallet,
    required: Json,
    *,
    scheme: str = "upto",
    token: Token = USDC,
    method: str | None = None,
    rpc_url: str | None = None,
) -> str:
    """A PAYMENT-SIGNATURE value made by x402's own client, in a thread, because it reads the chain with blocking calls.

    With ``rpc_url`` a missing allowance is made up for by an EIP-2612 permit.
    """
    method = method or ("eip3009" if scheme == "exact" else "permit2")
    accepts = [
        offer
        for offer in required["accepts"]
        if (offer["scheme"], offer["asset"], offer["extra"]["assetTransferMethod"]) == (scheme, token.address, method)
    ]
    assert accepts, f"{scheme} {token.symbol} over {method} is not offered"
    narrowed = PaymentRequired.model_validate({**required, "accepts": accepts})
    client = wallet.x402_client(rpc_url)
    payload = await asyncio.to_thread(lambda: asyncio.run(client.create_payment_payload(narrowed)))
    return encode_payment_signature_header(payload)


def encode_header(payload: Json, *, indent: int | None = None) -> str:
    return base64.b64encode(json.dumps(payload, indent=indent).encode()).decode()


def decode_header(value: str) -> Json:
    """Any x402 header."""
    decoded: Json = json.loads(base64.b64decode(value))
    return decoded


async def payment_of(response: aiohttp.ClientResponse) -> Json:
    """The ``payment`` object of an answer, in its JSON or in the last event of its stream."""
    assert response.status == 200, await response.text()
    if response.content_type == "text/event-stream":
        payment: Json = events(await response.read())[-1]["payment"]
    else:
        payment = (await response.json())["payment"]
    return payment


def read_journal(path: Path) -> list[Entry]:
    """Every entry of a gateway's journal, which may be in use."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return [decode_entry(row[0]) for row in db.execute("SELECT entry FROM payments ORDER BY deadline")]


def environment(
    fleet: Fleet, chain: LocalChain, facilitator: LocalFacilitator, prices: PriceSource, payee: str, journal: Path
) -> Mapping[str, str]:
    """What an operator sets, beside the vendors' addresses."""
    return {
        **fleet.environment(),
        "GATEWAY_PAYMENTS": "required",
        "EVM_PAYMENT_ADDRESS": payee,
        "FACILITATOR_URL": facilitator.url,
        "GATEWAY_RPC_URL": chain.rpc_url,
        "GATEWAY_PRICE_URL": prices.url,
        "GATEWAY_JOURNAL": str(journal),
    }
