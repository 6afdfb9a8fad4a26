"""Refuses payments while the clock is not trustworthy: their deadlines depend on it."""

from collections.abc import Coroutine
from typing import Any

from gateway.billing.payment import Order, Payment, Payments
from gateway.billing.refusals import payments_unavailable
from gateway.clock import Clock
from gateway.openai_api.errors import GatewayError


class ClockGuard:
    """Implements Payments by delegation to ``payments``; 503 while ``clock`` has reasons against it."""

    def __init__(self, payments: Payments, clock: Clock) -> None:
        self._payments = payments
        self._clock = clock

    def admit(self, order: Order) -> Coroutine[Any, Any, Payment]:
        if reasons := self._clock.reasons():
            raise payments_unavailable(reasons)
        return self._payments.admit(order)

    def challenge(self, resource_url: str) -> GatewayError | None:
        if reasons := self._clock.reasons():
            return payments_unavailable(reasons)
        return self._payments.challenge(resource_url)

    def reasons(self) -> list[str]:
        return self._clock.reasons() + self._payments.reasons()
