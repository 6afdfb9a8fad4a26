"""The two ways of not being paid: serving for free on purpose, and refusing to serve."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.billing.payment import Bill, Order, Payment, Receipt
from gateway.openai_api.errors import GatewayError, gateway_unavailable

_NO_RECEIPT = Receipt()


class FreePayment:
    """The payment of a request that nobody pays for."""

    output_limit: int | None = None
    seconds: float | None = None
    headers: Mapping[str, str] = MappingProxyType({})

    async def settle(self, bill: Bill) -> Receipt:
        return _NO_RECEIPT

    async def release(self, reason: str) -> None:
        pass


class PaymentsDisabled:
    """``GATEWAY_PAYMENTS=off``: everybody is let in."""

    async def admit(self, order: Order) -> Payment:
        return FreePayment()

    def challenge(self, resource_url: str) -> GatewayError | None:
        return None

    def reasons(self) -> list[str]:
        return []


class PaymentsUnconfigured:
    """Payments are required but cannot be taken yet: paid routes fail closed, with the reasons."""

    def __init__(self, reasons: list[str]) -> None:
        self._reasons = reasons

    async def admit(self, order: Order) -> Payment:
        raise self.challenge("")

    def challenge(self, resource_url: str) -> GatewayError:
        return payments_unavailable(self._reasons)

    def reasons(self) -> list[str]:
        return list(self._reasons)


def payments_unavailable(reasons: list[str], retry_after: float = 30.0) -> GatewayError:
    """503: nothing can be offered or checked now, so nothing is served."""
    message = f"This gateway cannot take payments now: {'; '.join(reasons)}"
    return gateway_unavailable("payments_unavailable", message, retry_after=retry_after)
