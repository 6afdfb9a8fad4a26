"""A quoter with everything around it that a test may change."""

from decimal import Decimal
from typing import Any

import msgspec

from gateway.billing import capabilities
from gateway.billing.capabilities import Capabilities
from gateway.billing.definitions import Token, bundled
from gateway.billing.quote import Quoter
from gateway.billing.terms import PaymentTerms
from gateway.billing.x402 import PaymentRequired, Supported, SupportedKind
from tests.billing import payers

DEFINITIONS = bundled()
NOW = 1_795_000_000.0
PATH = "/v1/chat/completions"
URL = f"https://gw.example{PATH}"
USD = Decimal("0.25")


class FixedRates:
    """OPG at a price that a test sets; None when there is none."""

    opg: Decimal | None = Decimal("0.0931")

    def usd(self, token: Token) -> Decimal | None:
        return token.usd if token.feed is None else self.opg


def supported(*networks: str, extensions: tuple[str, ...] = ("eip2612GasSponsoring",)) -> Supported:
    return Supported(
        kinds=[
            SupportedKind(
                x402_version=2,
                scheme=scheme,
                network=network,
                extra={"facilitatorAddress": payers.FACILITATOR} if scheme == "upto" else None,
            )
            for network in networks
            for scheme in ("exact", "upto")
        ],
        extensions=list(extensions),
        signers={"eip155:*": [payers.FACILITATOR, "0x" + "33" * 20, "0x" + "11" * 20]},
    )


class QuoterHarness:
    def __init__(self) -> None:
        self.rates = FixedRates()
        self.capabilities: Capabilities | None = capabilities.read(supported("eip155:8453"), DEFINITIONS)
        self.quoter = self.make()

    def make(self, **changes: Any) -> Quoter:
        settings: dict[str, Any] = {
            "payee": payers.PAYEE,
            "mac_key": b"k" * 32,
            "max_usd": Decimal("1.00"),
        } | changes
        return Quoter(settings.pop("definitions", DEFINITIONS), self.rates, lambda: self.capabilities, **settings)

    def required(self, usd: Decimal | None = USD, **more: Any) -> PaymentRequired:
        return self.quoter.required(URL, usd, "pay", NOW, **{"stream": False} | more)

    def accepts(self, **more: Any) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(offer) for offer in self.required(**more).accepts]

    def accept(
        self, offer: dict[str, Any], resource: Any = None, *, now: float = NOW, stream: bool = False
    ) -> PaymentTerms:
        return self.quoter.accept(offer, resource, PATH, now, stream=stream)
