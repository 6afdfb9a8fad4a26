"""Payments that record the calls made to them."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

from gateway.billing.payment import Bill, Order, Payment, Receipt
from gateway.openai_api.errors import GatewayError


@dataclass
class RecordingPayments:
    """Admit every order and settle every bill, or raise ``refuse`` on settlement."""

    id: str | None = None
    output_limit: int | None = None
    timeout: float | None = None
    refuse: GatewayError | None = None
    headers: dict[str, str] = field(default_factory=lambda: {"x-receipt": "upfront"})
    orders: list[Order] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def admit(self, order: Order) -> Payment:
        self.orders.append(order)
        return self

    async def settle(self, bill: Bill) -> Receipt:
        self.bills.append(bill)
        self.ended.set()
        if self.refuse is not None:
            raise self.refuse
        return Receipt({"status": "settled", "amount": "7"}, {"PAYMENT-RESPONSE": "receipt"})

    async def release(self, reason: str, unpaid_usd: Decimal | None = None) -> None:
        self.released.append(reason)
        self.ended.set()

    def challenge(self, resource_url: str) -> GatewayError | None:
        return None

    def reasons(self) -> list[str]:
        return []
