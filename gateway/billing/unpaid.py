"""Payments when x402 is not in use: disabled on purpose, or not configured yet."""

from collections.abc import Mapping
from decimal import Decimal

from gateway.billing.payment import Bill, Order, Payment, Receipt
from gateway.billing.refusals import payments_unavailable
from gateway.openai_api.errors import GatewayError

_NO_RECEIPT = Receipt()


class FreePayment:
    """The payment of a request that is free of charge."""

    id: str | None = None
    output_limit: int | None = None
    timeout: float | None = None
    headers: Mapping[str, str] = {}

    async def settle(self, bill: Bill) -> Receipt:
        return _NO_RECEIPT

    async def release(self, reason: str, unpaid_usd: Decimal | None = None) -> None:
        pass


class PaymentsDisabled:
    """``GATEWAY_PAYMENTS=off``: every request is admitted."""

    async def admit(self, order: Order) -> Payment:
        return FreePayment()

    def challenge(self, resource_url: str) -> GatewayError | None:
        return None

    def reasons(self) -> list[str]:
        return []


class PaymentsUnconfigured:
    """Payments are required but not available: paid routes fail closed with ``reasons``."""

    def __init__(self, reasons: list[str]) -> None:
        self._reasons = reasons

    async def admit(self, order: Order) -> Payment:
        raise self.challenge("")

    def challenge(self, resource_url: str) -> GatewayError:
        return payments_unavailable(self._reasons)

    def reasons(self) -> list[str]:
        return list(self._reasons)
