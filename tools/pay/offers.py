"""The offers of a 402, as text; only tokens and networks of gateway/billing/definitions.toml are paid."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from x402.http.utils import decode_payment_required_header
from x402.schemas import PaymentRequired, PaymentRequirements

from gateway.billing.definitions import Definitions, Token
from gateway.billing.evm.values import ADDRESS
from gateway.billing.x402 import PAYMENT_REQUIRED
from tools.verify.errors import VerifyError

_AMOUNT = re.compile(r"[0-9]{1,78}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_RATE = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?(E[-+]?[0-9]{1,2})?")


class NotPaidError(VerifyError):
    """Nothing was bought: no offer fits, the payer declined, or the payment was refused."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to pay. ``amount`` is the most that is charged (``upto``) or the price (``exact``), in atomic units."""

    requirements: PaymentRequirements
    token: Token
    network: str

    @property
    def amount(self) -> int:
        return int(self.requirements.amount)

    @property
    def rate(self) -> Decimal | None:
        """USD per whole token, as the gateway quoted it."""
        quote = self.requirements.extra.get("quote")
        rate = quote.get("rate") if isinstance(quote, Mapping) else None
        return Decimal(rate) if isinstance(rate, str) and _RATE.fullmatch(rate) else None

    def show(self, amount: int) -> str:
        """``amount`` with its symbol, and its value at the quoted rate."""
        whole = Decimal(amount).scaleb(-self.token.decimals)
        value = f" = {format_decimal(whole * self.rate)} USD" if self.rate is not None else ""
        return f"{format_decimal(whole)} {self.token.symbol}{value}"

    def __str__(self) -> str:
        terms = "at most" if self.requirements.scheme == "upto" else "exactly"
        upfront = ", paid before the answer" if self.requirements.extra.get("paymentFlow") == "upfront" else ""
        scheme = f"{self.requirements.scheme} over {_method(self.requirements)}"
        return f"{scheme}: {terms} {self.show(self.amount)} on {self.network}{upfront}"


def read_required(headers: Mapping[str, str]) -> PaymentRequired:
    """The PAYMENT-REQUIRED header of a 402; raises NotPaidError if it is missing or invalid."""
    header = headers.get(PAYMENT_REQUIRED)
    if header is None:
        raise NotPaidError(f"the gateway's 402 response has no {PAYMENT_REQUIRED} header")
    try:
        required = decode_payment_required_header(header)
    except ValueError as error:
        raise NotPaidError(f"the {PAYMENT_REQUIRED} header cannot be read: {type(error).__name__}") from None
    if not isinstance(required, PaymentRequired):
        raise NotPaidError("the gateway uses x402 version 1, which is not supported")
    return required


def known_offers(required: PaymentRequired, definitions: Definitions) -> list[Offer]:
    """The offers in the gateway's order, without those in unknown tokens or on unknown networks."""
    offers = []
    for requirements in required.accepts:
        token = _token(requirements, definitions)
        if token is not None and is_amount(requirements.amount) and _is_printable(requirements):
            offers.append(Offer(requirements, token, definitions.networks[token.network].name))
    return offers


def is_amount(text: str) -> bool:
    """Whether ``text`` is a decimal number of up to 78 digits, the length of 256 bits."""
    return _AMOUNT.fullmatch(text) is not None


def with_single_offer(required: PaymentRequired, offer: Offer) -> PaymentRequired:
    """The 402 with this offer only, so that the x402 client selects it."""
    return required.model_copy(update={"accepts": [offer.requirements]})


def format_decimal(number: Decimal) -> str:
    """Decimal notation without exponent and trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _is_printable(requirements: PaymentRequirements) -> bool:
    """Whether the offer's strings are safe to print: names and an address, no control characters."""
    words = (requirements.scheme, _method(requirements))
    return ADDRESS.fullmatch(requirements.pay_to) is not None and all(_NAME.fullmatch(word) for word in words)


def _method(requirements: PaymentRequirements) -> str:
    return str(requirements.extra.get("assetTransferMethod", "eip3009"))


def _token(requirements: PaymentRequirements, definitions: Definitions) -> Token | None:
    """The known token of an offer whose EIP-712 domain name and version match; else None."""
    extra = requirements.extra
    for token in definitions.tokens.values():
        if (token.network, token.address.lower()) == (str(requirements.network), requirements.asset.lower()):
            return token if (extra.get("name"), extra.get("version")) == (token.name, token.version) else None
    return None
