"""The terms of one payment: an offer of the definitions with an amount, a payee and a facilitator."""

from decimal import Decimal

import msgspec

from gateway.billing.definitions import Network, Offer, Scheme, Token, TransferMethod
from gateway.billing.evm import values as evm
from gateway.billing.x402 import Requirements


class PaymentTerms(msgspec.Struct, frozen=True, kw_only=True):
    """An offer that this gateway made, parsed.

    ``amount`` is the cap (upto) or the price (exact) in atomic units, ``rate`` the USD price of one whole token,
    frozen when the offer was made. ``facilitator`` is the only address that may settle an upto payment.
    ``requirements`` is the wire form.
    """

    scheme: Scheme
    method: TransferMethod
    token: Token
    network: Network
    amount: int
    payee: bytes
    facilitator: bytes | None
    rate: Decimal
    upfront: bool
    requirements: Requirements

    @classmethod
    def read(
        cls, requirements: Requirements, offer: Offer, token: Token, network: Network, rate: Decimal
    ) -> "PaymentTerms":
        """The terms in ``requirements``, which this gateway made of ``offer``."""
        extra = requirements.extra
        return cls(
            scheme=offer.scheme,
            method=offer.method,
            token=token,
            network=network,
            amount=int(requirements.amount),
            payee=evm.address(requirements.pay_to),
            facilitator=evm.address(extra["facilitatorAddress"]) if offer.scheme == "upto" else None,
            rate=rate,
            upfront=extra.get("paymentFlow") == "upfront",
            requirements=requirements,
        )

    @property
    def amount_usd(self) -> Decimal:
        return self.rate * self.amount * Decimal(10) ** -self.token.decimals

    @property
    def asset(self) -> str:
        return asset_id(self.token)


def asset_id(token: Token) -> str:
    """CAIP-2 network and contract address, the key of balances and exposure."""
    return f"{token.network}/{token.address.lower()}"
