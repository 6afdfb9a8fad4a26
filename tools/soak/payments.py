"""Simulated payments: one payer balance in memory, and a facilitator that is slow, fails or rejects at random."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Literal

from gateway.billing.payment import Bill, Order, Receipt
from gateway.openai_api.errors import Fault, GatewayError

CAP = 1_000_000
"""Atomic units reserved by every claim."""
INITIAL_BALANCE = 10**18
"""Atomic units."""

ClaimOutcome = Literal["open", "settled", "released", "withheld"]


@dataclass
class Claim:
    """One request's payment."""

    payments: "SimulatedPayments"
    id: str | None = None
    output_limit: int | None = None
    timeout: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    outcome: ClaimOutcome = "open"

    async def settle(self, bill: Bill) -> Receipt:
        await self.payments.round_trip()
        if self.payments.happens(0.03):
            self._close("withheld", 0)
            raise GatewayError("not paid", status=402, code="settlement_failed", should_retry=False)
        amount = min(CAP, int(bill.cost_usd * 10**6) + 1)
        self._close("settled", amount)
        self.payments.settled.add(hash(bill.envelope.signature))
        return Receipt({"status": "settled", "amount": str(amount)}, {})

    async def release(self, reason: str, unpaid_usd: Decimal | None = None) -> None:
        await self.payments.round_trip()
        self._close("released", 0)

    def _close(self, outcome: ClaimOutcome, amount: int) -> None:
        self.payments.ends[f"{self.outcome} → {outcome}"] += 1
        self.outcome = outcome
        self.payments.balance += CAP - amount
        self.payments.charged += amount


class SimulatedPayments:
    """Implements Payments. ``balance`` is the payers' remaining funds and ``charged`` the sum of settled amounts, in
    atomic units; ``settled`` has the hashes of paid answers' signatures."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.balance = INITIAL_BALANCE
        self.charged = 0
        self.claims = 0
        self.ends: Counter[str] = Counter()
        self.settled: set[int] = set()

    async def admit(self, order: Order) -> Claim:
        await self.round_trip()
        if self.happens(0.05):
            raise GatewayError("the facilitator is away", status=503, code="payments_unavailable", fault=Fault.GATEWAY)
        self.balance -= CAP
        self.claims += 1
        return Claim(self, timeout=self._random.choice((None, None, None, 0.5)))

    def challenge(self, resource_url: str) -> GatewayError | None:
        return None

    def reasons(self) -> list[str]:
        return []

    async def round_trip(self) -> None:
        """A round trip to the facilitator, sometimes a slow one."""
        await asyncio.sleep(self._random.choice((0, 0, 0, 0.005, 0.2)))

    def happens(self, probability: float) -> bool:
        return self._random.random() < probability

    def problems(self) -> list[str]:
        """Inconsistencies of the ledger when no payment is open."""
        found = [f"{count} payments went {end}" for end, count in self.ends.items() if not end.startswith("open →")]
        if (ended := self.ends.total()) != self.claims:
            found.append(f"{self.claims} payments were claimed, {ended} came to an end")
        if missing := INITIAL_BALANCE - self.balance - self.charged:
            found.append(f"{missing} units are missing")
        return found
