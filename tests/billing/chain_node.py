"""A scripted node of the chain, and a payment as it shows it."""

import json
from typing import Any, cast

import aiohttp
import msgspec

from gateway.billing.definitions import bundled
from gateway.billing.evm import values as evm
from gateway.billing.evm.chain import Chain
from gateway.billing.x402 import ForwardedPayment
from tests.billing.entries import PAYER, entry
from tools.fuzz.stub_peers import Reply, session

TOKEN = bundled().tokens["usdc"]
NONCE = b"\x33" * 32
PAYEE = "0x" + "bb" * 20
ASSET = f"{TOKEN.network}/{TOKEN.address.lower()}"
PAYMENT = ForwardedPayment(
    x402_version=2,
    payload=msgspec.Raw(b'{"authorization":{"validAfter":"0"}}'),
    accepted=msgspec.Raw(msgspec.json.encode({"payTo": PAYEE})),
)
ENTRY = entry(
    key=bytes(28) + PAYER + NONCE,
    asset=ASSET,
    payment=PAYMENT,
    amount=10,
)
HASH = "0x" + "44" * 32
TOPICS = [
    "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
    "0x" + "00" * 12 + PAYER.hex(),
    "0x" + "00" * 12 + PAYEE[2:],
]
EVENT = {"address": TOKEN.address, "topics": TOPICS, "data": "0x" + "0" * 62 + "0a"}
SIGNED = evm.words((PAYER, evm.address(PAYEE), ENTRY.cap, 0, ENTRY.deadline, NONCE)).hex()
SENT = {"input": f"0xe3ee160e{SIGNED}", "to": TOKEN.address}
ELSEWHERE = "0x" + "77" * 20
BLOCK = {"number": "0x64", "timestamp": "0x3e8"}


class Node:
    """An endpoint that answers by method, and knows what it was asked last by each."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"eth_chainId": "0x2105", "eth_call": f"0x{1:064x}", "eth_getBlockByNumber": BLOCK, **answers}
        self.asked: dict[str, list[Any]] = {}

    def chain(self) -> Chain:
        return Chain(cast("aiohttp.ClientSession", self), "https://rpc.example", bundled())

    def post(self, url: str, *, data: bytes, **options: Any) -> Any:
        answers = [{"id": call["id"], "result": self._answer(**call)} for call in json.loads(data)]
        return session(Reply(200, [json.dumps(answers).encode()])).post(url)

    def _answer(self, *, method: str, params: list[Any], **_: Any) -> Any:
        self.asked[method] = params
        return self.answers[method]
