"""The contract between an exchange and its payment.

The exchange says what a request may cost, what it did cost and when; everything about quotes, signatures,
facilitators and journals stays behind these protocols.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from gateway.billing.pricing import ANY_TERMS, PriceTerms
from gateway.catalog import Model
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.usage import Usage


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, before any work.

    ``prompt_tokens`` is an upper bound made from the body. ``output_tokens`` is the caller's own limit per choice.
    ``headers`` are the request's, found by names in lower case. ``price_terms`` say what of the price list can apply.
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


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What was used and signed. ``model`` is the one that answered; ``complete`` is False for a broken-off answer."""

    model: Model
    usage: Usage
    cost_usd: Decimal
    complete: bool
    request_hash: str
    output_hash: str
    signature: str
    timestamp: int


class Receipt(msgspec.Struct, frozen=True):
    """How a payment ended: the ``payment`` object of the answer and the headers of a non-streamed one."""

    payment: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = MappingProxyType({})


class Payment(Protocol):
    """One admitted request's payment, from claim to settlement."""

    @property
    def output_limit(self) -> int | None:
        """Output tokens per choice that the payment covers, thinking included; None without a cap."""
        ...

    @property
    def seconds(self) -> float | None:
        """How long the answer may take before the authorization runs out; None without a deadline."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What is known before the answer and belongs to its headers: the receipt of an upfront payment."""
        ...

    async def settle(self, bill: Bill) -> Receipt:
        """Charge for an answer; survives the caller's cancellation. Raises GatewayError when it must be withheld."""
        ...

    async def release(self, reason: str) -> None:
        """Give the claim back: nothing was produced that could be charged."""
        ...


class Payments(Protocol):
    """Who lets requests in."""

    async def admit(self, order: Order) -> Payment:
        """Claim and verify the payment for ``order``; raises GatewayError (402, 400, 409, 503) otherwise."""
        ...

    def challenge(self, resource_url: str) -> GatewayError | None:
        """The 402 for an unpaid body too large to parse, quoting the maximum; None when nobody has to pay."""
        ...

    def reasons(self) -> list[str]:
        """Why no paid request can be served now; empty when it can."""
        ...
