"""Requests, faults, leaving clients and restarts in random order; at the end every unit is accounted for.

What was settled on the chain is what the journal says was settled is what the payers were told, and everything that
was not settled says why.
"""

import asyncio
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.billing.journal import PAID, UNFINISHED, Entry, State, decode_entry
from gateway.billing.x402_payment import X402Payment
from gateway.openai_api.errors import GatewayError
from tests.billing.harness import BillingHarness, bill, open_harness, order, quick
from tools.chain.deployment import USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Body, Denied, Drop, Fault, Pending, Slow, Status
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet

AT_ONCE = 8
FAULTS: list[Fault] = [
    Drop("before"), Drop("after"), Status(500, when="before"), Status(502, when="after"), Slow(0.3, "before"),
    Slow(0.3, "after"), Body("<html>", "before"), Body("", "after"), Pending(), Denied(),
]  # fmt: skip
WAYS: list[dict[str, Any]] = [
    {"scheme": "upto"},
    {"scheme": "exact"},
    {"scheme": "exact", "method": "permit2"},
    {"scheme": "exact", "stream": True},
]
ENDS = ["settle"] * 6 + ["leave", "free", "release", "abandon"]


class Round:
    """One gateway's life among several on one journal."""

    def __init__(self, billing: BillingHarness, dice: random.Random, wallets: list[Wallet]) -> None:
        self.billing = billing
        self.dice = dice
        self.wallets = wallets
        self.told: dict[str, int] = {}
        self.refused: Counter[int] = Counter()

    async def request(self) -> None:
        """A client pays and is served, or not; everything that its fate depends on is thrown before the first await."""
        dice = self.dice
        way, end, wallet = dict(dice.choice(WAYS)), dice.choice(ENDS), dice.choice(self.wallets)
        cost = f"0.00{dice.randrange(1, 9999):04d}"
        patience = dice.random() * 0.1
        if dice.random() < 0.3:
            self.billing.facilitator.faults.set(dice.choice(["verify", "settle"]), dice.choice(FAULTS), times=1)
        asked = order(stream=way.pop("stream", False))
        try:
            payment = await self.billing.admit(wallet, asked, **way)
            await self._end(payment, end, cost, patience)
        except GatewayError as error:
            self.refused[error.status] += 1

    async def _end(self, payment: X402Payment, end: str, cost: str, patience: float) -> None:
        if end == "abandon":
            return
        if end == "release":
            await payment.release("upstream_failed")
            return
        settling = asyncio.create_task(payment.settle(bill("0" if end == "free" else cost)))
        if end == "leave":
            await asyncio.sleep(patience)
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
            return
        receipt = await settling
        assert receipt.payment is not None
        if receipt.payment["status"] == "settled":
            self.told[receipt.payment["transaction"]] = int(receipt.payment["amount"])


def entries(journal: Path) -> list[Entry]:
    db = sqlite3.connect(journal)
    try:
        return [decode_entry(row[0]) for row in db.execute("SELECT entry FROM payments")]
    finally:
        db.close()


async def play(chain: LocalChain, journal: Path, seed: int, requests: int) -> None:
    dice = random.Random(seed)
    definitions = quick(settlement={"hold_seconds": 0.8}, facilitator={"settle_seconds": 0.6})
    wallets = [await chain.wallet(usdc=10**7, approve=True) for _ in range(5)]
    payee = Wallet().address
    told: dict[str, int] = {}
    refused: Counter[int] = Counter()
    async with LocalFacilitator(chain.rpc_url, confirmation_timeout=0.5) as facilitator:
        for _ in range(3):
            async with open_harness(
                chain, facilitator, journal, payee=payee, definitions=definitions, drain=0.05
            ) as billing:
                life = Round(billing, dice, wallets)
                left = requests // 3
                while left > 0:
                    await asyncio.gather(*(life.request() for _ in range(min(AT_ONCE, left))))
                    left -= AT_ONCE
                told |= life.told
                refused += life.refused
        facilitator.faults.clear()
        async with open_harness(chain, facilitator, journal, payee=payee, definitions=definitions, drain=30.0):
            await asyncio.sleep(0.5)
        transfers = await chain.transfers(USDC, payee=payee)
    journalled = await asyncio.to_thread(entries, journal)
    settled = {entry.transaction: entry.settled_amount for entry in journalled if entry.state in PAID}
    on_chain = {transfer.transaction: transfer.amount for transfer in transfers}
    assert len(on_chain) == len(transfers) == sum(entry.state in PAID for entry in journalled)
    assert settled == on_chain
    assert told.items() <= on_chain.items()
    assert sum(on_chain.values()) > 0
    assert not [entry for entry in journalled if entry.state in UNFINISHED - {State.SERVING}]
    unexplained = [entry for entry in journalled if entry.state not in PAID and not entry.note]
    assert not unexplained
    assert set(refused) <= {402, 409, 429, 503}


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_interleavings_add_up(chain: LocalChain, journal: Path, seed: int) -> None:
    await play(chain, journal, seed, requests=50)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
async def test_many_random_interleavings_add_up(chain: LocalChain, journal: Path, seed: int) -> None:
    await play(chain, journal, seed, requests=100)
