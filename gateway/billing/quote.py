"""Creation of offers, and validation of the offer that a client accepted.

Quotes are stateless: the rate is frozen in ``extra.quote``, and a MAC covers every key of the offer, so any worker can
validate it until it expires.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from gateway.billing.authorization import RefusedPaymentError
from gateway.billing.capabilities import NO_CAPABILITIES, Capabilities
from gateway.billing.definitions import Definitions, Network, Offer, Token
from gateway.billing.evm import eip2612
from gateway.billing.evm import values as evm
from gateway.billing.pricing import atomic
from gateway.billing.terms import PaymentTerms
from gateway.billing.x402 import (
    EIP2612_EXTENSION,
    VERSION,
    PaymentRequired,
    Requirements,
    Resource,
    write_header,
)

_MAX_URL_LENGTH = 512


class PriceSource(Protocol):
    """The source of tokens' USD prices."""

    def usd(self, token: Token) -> Decimal | None:
        """USD per whole token; None without a trusted price."""
        ...


class Quoter:
    """Makes and validates offers.

    ``payee`` is an address, ``mac_key`` a secret shared by all workers, ``max_usd`` the maximum cost of one request.
    ``capabilities`` returns those of the facilitator, None while unknown. ``supports_permits`` says which tokens
    implement EIP-2612.
    """

    def __init__(
        self,
        definitions: Definitions,
        rates: PriceSource,
        capabilities: Callable[[], Capabilities | None],
        *,
        payee: str,
        mac_key: bytes,
        max_usd: Decimal,
        supports_permits: Callable[[Token], bool] = lambda token: token.eip2612,
    ) -> None:
        self._definitions = definitions
        self._rates = rates
        self._capabilities = capabilities
        self._payee = evm.address(payee)
        self._payee_text = evm.checksummed(self._payee)
        self._mac_key = mac_key
        self._max_usd = max_usd
        self._supports_permits = supports_permits

    @property
    def ready(self) -> bool:
        """Whether any offer can be made."""
        capabilities = self._capabilities() or NO_CAPABILITIES
        return any(self._is_available(offer, capabilities) for offer in self._definitions.offers)

    def _is_available(self, offer: Offer, capabilities: Capabilities) -> bool:
        """Whether the facilitator settles the offer's scheme, and its token has a price."""
        token = self._definitions.tokens[offer.token]
        return (offer.scheme, token.network) in capabilities.kinds and self._rates.usd(token) is not None

    def required(
        self,
        resource_url: str,
        usd: Decimal | None,
        error: str,
        now: float,
        *,
        stream: bool,
        upfront_only: bool = False,
    ) -> PaymentRequired:
        """The 402 body: every way to pay ``usd``, or the maximum for None, in the order of preference.

        An exact payment for a stream is upfront, because a stream cannot be withheld (facts/x402.md 1.10).
        ``upfront_only`` restricts the offers to upfront payment, for payers in debt.
        """
        capabilities = self._capabilities() or NO_CAPABILITIES
        offers = [
            offer
            for offer in self._definitions.offers
            if self._is_available(offer, capabilities) and (offer.scheme == "exact" or not upfront_only)
        ]
        amount_usd = self._max_usd if usd is None else usd
        quote_id = secrets.token_hex(8)
        required = PaymentRequired(
            x402_version=VERSION,
            error=error,
            resource=Resource(
                url=resource_url[:_MAX_URL_LENGTH], description=_description(resource_url), mime_type="application/json"
            ),
            accepts=[
                self._requirements(offer, amount_usd, quote_id, now, capabilities, upfront=stream or upfront_only)
                for offer in offers
            ],
            extensions=self._extensions(offers, capabilities),
        )
        return self._fit_header(required)

    def _extensions(self, offers: list[Offer], capabilities: Capabilities) -> dict[str, Any]:
        """EIP-2612 permits, if the facilitator submits them and any of the ``offers`` can use one."""
        permits = EIP2612_EXTENSION in capabilities.extensions and any(
            offer.method == "permit2" and self._supports_permits(self._definitions.tokens[offer.token])
            for offer in offers
        )
        return {EIP2612_EXTENSION: eip2612.DECLARATION} if permits else {}

    def _fit_header(self, required: PaymentRequired) -> PaymentRequired:
        """Drop the last offers until the header fits the limits of clients (facts/x402.md 1.9)."""
        while len(required.accepts) > 1 and len(write_header(required)) > self._definitions.wire.required_header_bytes:
            required = msgspec.structs.replace(required, accepts=required.accepts[:-1])
        return required

    def _requirements(
        self, offer: Offer, usd: Decimal, quote_id: str, now: float, capabilities: Capabilities, *, upfront: bool
    ) -> Requirements:
        token = self._definitions.tokens[offer.token]
        rate = self._rates.usd(token)
        assert rate is not None  # noqa: S101 - checked by _is_available
        extra: dict[str, Any] = {"name": token.name, "version": token.version, "assetTransferMethod": offer.method}
        if offer.scheme == "upto":
            extra["facilitatorAddress"] = evm.checksummed(capabilities.facilitators[token.network])
        else:
            extra["price_basis"] = "maximum"
            if upfront:
                extra["paymentFlow"] = "upfront"
        extra["quote"] = {"id": quote_id, "rate": f"{rate:f}", "expires": int(now) + self._definitions.quotes.seconds}
        requirements = Requirements(
            scheme=offer.scheme,
            network=token.network,
            amount=str(max(1, atomic(usd, rate, token.decimals))),
            asset=token.address,
            pay_to=self._payee_text,
            max_timeout_seconds=self._definitions.quotes.max_timeout_seconds,
            extra=extra,
        )
        extra["quote"]["mac"] = self._mac(msgspec.to_builtins(requirements))
        return requirements

    def _mac(self, wire: Mapping[str, Any]) -> str:
        """The MAC over every key of an offer except its own."""
        extra = wire["extra"]
        quote = {key: value for key, value in extra["quote"].items() if key != "mac"}
        message = msgspec.json.encode({**wire, "extra": {**extra, "quote": quote}}, order="sorted")
        return hmac.digest(self._mac_key, b"x402 offer\0" + message, "sha256").hex()[:32]

    def accept(
        self, accepted: Mapping[str, Any], resource: Mapping[str, Any] | None, path: str, now: float, *, stream: bool
    ) -> PaymentTerms:
        """The terms of an accepted offer; raises RefusedPaymentError if it is not authentic or no longer valid."""
        try:
            requirements = self._find_echoed(accepted, now, stream=stream)
        except (ValueError, KeyError, TypeError):
            raise RefusedPaymentError(
                "invalid_payment_requirements", "The accepted terms were not offered by this gateway."
            ) from None
        quote = requirements.extra["quote"]
        if quote["expires"] < now:
            raise RefusedPaymentError("quote_expired", "The quote has expired.")
        url = (resource or {}).get("url")
        if isinstance(url, str) and _path(url) != path:
            raise RefusedPaymentError("resource_mismatch", "The payment was made for another resource.")
        return self._terms(requirements, Decimal(quote["rate"]))

    def _find_echoed(self, accepted: Mapping[str, Any], now: float, *, stream: bool) -> Requirements:
        """The offer that ``accepted`` echoes. Raises ValueError, KeyError or TypeError for none of this gateway.

        SDKs with typed offers, such as r402, drop the quote: what is offered at present counts then.
        """
        requirements = msgspec.convert(accepted, Requirements)
        if "quote" not in requirements.extra:
            return self._offered_now(requirements, now, stream=stream)
        if not hmac.compare_digest(requirements.extra["quote"]["mac"], self._mac(accepted)):
            raise ValueError("another MAC")
        return requirements

    def _offered_now(self, accepted: Requirements, now: float, *, stream: bool) -> Requirements:
        """The present offer that ``accepted`` echoes, with its amount and facilitator: the payer signs both.

        Keys of ``extra`` may be missing, but not differ. Raises ValueError, KeyError or TypeError if there is none.
        """
        capabilities, found = self._capabilities(), self._find_offer(accepted)
        if found is None or capabilities is None or not self._is_available(found[0], capabilities):
            raise ValueError("not offered at present")
        echoed = {name: value for name, value in accepted.extra.items() if value is not None}
        upfront = stream or echoed.get("paymentFlow") == "upfront"
        offered = self._requirements(found[0], self._max_usd, "", now, capabilities, upfront=upfront)
        if offered.scheme == "upto":
            facilitator = evm.checksummed(evm.address(echoed["facilitatorAddress"]))
            echoed["facilitatorAddress"] = offered.extra["facilitatorAddress"] = facilitator
        if not (
            evm.address(accepted.pay_to) == self._payee
            and accepted.max_timeout_seconds == offered.max_timeout_seconds
            and 0 < evm.uint256(accepted.amount) <= int(offered.amount)
            and offered.extra | echoed == offered.extra
        ):
            raise ValueError("other terms than are offered at present")
        return msgspec.structs.replace(offered, amount=accepted.amount)

    def _terms(self, requirements: Requirements, rate: Decimal) -> PaymentTerms:
        """Check an authentic offer against the current payee and facilitator, which may have changed since."""
        capabilities, found = self._capabilities(), self._find_offer(requirements)
        if found is None or capabilities is None or evm.address(requirements.pay_to) != self._payee:
            raise RefusedPaymentError("invalid_payment_requirements", "The accepted terms are no longer offered.")
        offer, token, network = found
        if (offer.scheme, network.id) not in capabilities.kinds:
            raise RefusedPaymentError("unsupported_scheme", "The facilitator no longer settles this scheme.")
        terms = PaymentTerms.read(requirements, offer, token, network, rate)
        if terms.facilitator is not None and terms.facilitator not in capabilities.signers[network.id]:
            raise RefusedPaymentError("upto_facilitator_mismatch", "The facilitator's signing keys have changed.")
        return terms

    def _find_offer(self, requirements: Requirements) -> tuple[Offer, Token, Network] | None:
        """The offer that ``requirements`` were made of, if it is still made; the first one, if they name no method.

        Raises ValueError for an asset that is no address.
        """
        key = requirements.scheme, requirements.network, evm.address(requirements.asset)
        method = requirements.extra.get("assetTransferMethod")
        for offer in self._definitions.offers:
            token = self._definitions.tokens[offer.token]
            if (offer.scheme, token.network, evm.address(token.address)) == key and method in (None, offer.method):
                return offer, token, self._definitions.network(token)
        return None

    def covers(self, terms: PaymentTerms, usd: Decimal) -> bool:
        """Whether the amount covers ``usd`` at the quoted rate."""
        return terms.amount >= atomic(usd, terms.rate, terms.token.decimals)


def _description(resource_url: str) -> str:
    return "Text completion" if resource_url.endswith("/v1/completions") else "Chat completion"


def _path(url: str) -> str | None:
    try:
        return urlsplit(url).path
    except ValueError:
        return None
