"""The interface between an exchange and its payment.

The exchange provides what a request may cost and what it did cost; quotes, signatures, facilitators and journals are
behind these protocols.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from gateway.billing.pricing import ANY_TERMS, PriceTerms
from gateway.catalog import Model
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.usage import Usage
from gateway.signing import Envelope


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A request to be paid for, before any work.

    ``prompt_tokens`` is an upper bound estimated from the body. ``output_tokens`` is the caller's limit per choice.
    ``headers`` are the request's, by lower-case name. ``price_terms`` restrict which prices can apply.
    """

    path: str
    model: Model
    prompt_tokens: int
    output_tokens: int | None
    choices: int
    images: int
    stream: bool
    headers: Mapping[str, str]
    resource_url: str
    price_terms: PriceTerms = ANY_TERMS

    def with_replayed(self, size: int) -> "Order":
        """The order with ``size`` bytes more of prompt, which the gateway adds: at most a token for every two."""
        return msgspec.structs.replace(self, prompt_tokens=self.prompt_tokens + -(-size // 2))


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What was used and signed. ``model`` is the one that answered; ``cut`` if it was not delivered whole."""

    model: Model
    usage: Usage
    cost_usd: Decimal
    envelope: Envelope
    cut: bool = False


class Receipt(msgspec.Struct, frozen=True):
    """The outcome of a payment: the answer's ``payment`` object, and headers for an answer that is not streamed."""

    payment: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = {}


class Payment(Protocol):
    """The payment of one admitted request."""

    @property
    def id(self) -> str | None:
        """Short id for logs; None for a request that is free of charge."""
        ...

    @property
    def output_limit(self) -> int | None:
        """Output tokens per choice that the payment covers, reasoning included; None without a cap."""
        ...

    @property
    def timeout(self) -> float | None:
        """Seconds left for the answer before the authorization expires; None without a deadline."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers known before the answer, such as the receipt of an upfront payment."""
        ...

    async def settle(self, bill: Bill) -> Receipt:
        """Charge for an answer, even if the caller is cancelled. Raises GatewayError if the answer must be withheld."""
        ...

    async def release(self, reason: str, unpaid_usd: Decimal | None = None) -> None:
        """End the payment without a charge: nothing chargeable was delivered.

        ``unpaid_usd`` is the cost of an answer that its client has left unpaid.
        """
        ...


class Payments(Protocol):
    """Admits requests to paid routes."""

    async def admit(self, order: Order) -> Payment:
        """Claim and verify the payment for ``order``. Raises GatewayError (402, 400, 409, 429, 503)."""
        ...

    def challenge(self, resource_url: str) -> GatewayError | None:
        """The 402, quoting the maximum, for an unpaid body too large to parse; None if payments are off."""
        ...

    def reasons(self) -> list[str]:
        """Why paid requests cannot be served now; empty if they can."""
        ...
