"""Payments against an account in memory, with a facilitator that is slow, away or unwilling at times."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from gateway.billing.payment import Bill, Order, Receipt
from gateway.openai_api.errors import Fault, GatewayError

CAP = 1_000_000
"""Atomic units that every claim reserves."""

Fate = Literal["open", "settled", "released", "withheld"]


@dataclass
class Claim:
    """One request's payment."""

    till: "Till"
    output_limit: int | None = None
    timeout: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fate: Fate = "open"

    async def settle(self, bill: Bill) -> Receipt:
        await self.till.facilitator()
        if self.till.chance(0.03):
            self._end("withheld", 0)
            raise GatewayError("not paid", status=402, code="settlement_failed", should_retry=False)
        amount = min(CAP, int(bill.cost_usd * 10**6) + 1)
        self._end("settled", amount)
        self.till.settled.add(hash(bill.signature))
        return Receipt({"status": "settled", "amount": str(amount)}, {})

    async def release(self, reason: str) -> None:
        await self.till.facilitator()
        self._end("released", 0)

    def _end(self, fate: Fate, amount: int) -> None:
        self.till.ends[f"{self.fate} → {fate}"] += 1
        self.fate = fate
        self.till.account += CAP - amount
        self.till.earned += amount


class Till:
    """Implements Payments. ``account`` is what payers have left, ``earned`` what answers cost, ``settled`` hashes of
    the signatures that were paid."""

    def __init__(self, random: Random, account: int = 10**18) -> None:
        self._random = random
        self.opening = self.account = account
        self.earned = 0
        self.claims = 0
        self.ends: Counter[str] = Counter()
        self.settled: set[int] = set()

    async def admit(self, order: Order) -> Claim:
        await self.facilitator()
        if self.chance(0.05):
            raise GatewayError("the facilitator is away", status=503, code="payments_unavailable", fault=Fault.GATEWAY)
        self.account -= CAP
        self.claims += 1
        return Claim(self, timeout=self._random.choice((None, None, None, 0.5)))

    def challenge(self, resource_url: str) -> GatewayError | None:
        return None

    def reasons(self) -> list[str]:
        return []

    async def facilitator(self) -> None:
        """A round trip, long at times."""
        await asyncio.sleep(self._random.choice((0, 0, 0, 0.005, 0.2)))

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def problems(self) -> list[str]:
        """What an auditor would find once nothing is under way."""
        found = [f"{count} payments went {end}" for end, count in self.ends.items() if not end.startswith("open →")]
        if (ended := self.ends.total()) != self.claims:
            found.append(f"{self.claims} payments were claimed, {ended} came to an end")
        if self.account + self.earned != self.opening:
            found.append(f"{self.opening - self.account - self.earned} units are missing")
        return found
