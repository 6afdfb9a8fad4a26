"""Payers as tests need them: eth-account keys that sign with x402's own client classes or field by field."""

import base64
import json
import secrets
from decimal import Decimal
from typing import Any

import msgspec
from eth_account import Account
from eth_account.signers.local import LocalAccount
from x402.mechanisms.evm.exact.client import ExactEvmScheme
from x402.mechanisms.evm.upto.client import UptoEvmScheme
from x402.schemas import PaymentRequirements

from gateway.billing.definitions import bundled
from gateway.billing.terms import PaymentTerms
from gateway.billing.x402 import Requirements

PAYEE = "0x1111111111111111111111111111111111111111"
FACILITATOR = "0x2222222222222222222222222222222222222222"


def account() -> LocalAccount:
    made: LocalAccount = Account.from_key(secrets.token_bytes(32))
    return made


def client_payload(payer: Any, requirements: dict[str, Any]) -> dict[str, Any]:
    """The inner payload that x402's client makes for an offer."""
    scheme = UptoEvmScheme(payer) if requirements["scheme"] == "upto" else ExactEvmScheme(payer)
    made: dict[str, Any] = scheme.create_payment_payload(PaymentRequirements.model_validate(requirements))
    return made


def header(payload: dict[str, Any], accepted: dict[str, Any], **more: Any) -> str:
    """A ``PAYMENT-SIGNATURE`` value."""
    return encode({"x402Version": 2, "payload": payload, "accepted": accepted, **more})


def encode(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def requirements(offer: int = 0, amount: int = 100_000) -> dict[str, Any]:
    """An offer of the definitions on the wire, by its position."""
    definitions = bundled()
    chosen = definitions.offers[offer]
    token = definitions.tokens[chosen.token]
    extra = {"name": token.name, "version": token.version, "assetTransferMethod": chosen.method}
    if chosen.scheme == "upto":
        extra["facilitatorAddress"] = FACILITATOR
    return {
        "scheme": chosen.scheme,
        "network": token.network,
        "amount": str(amount),
        "asset": token.address,
        "payTo": PAYEE,
        "maxTimeoutSeconds": 600,
        "extra": extra,
    }


def terms(offer: int = 0, amount: int = 100_000) -> PaymentTerms:
    """The same offer as the gateway holds it."""
    definitions = bundled()
    chosen = definitions.offers[offer]
    token = definitions.tokens[chosen.token]
    wire = msgspec.convert(requirements(offer, amount), Requirements)
    return PaymentTerms.read(wire, chosen, token, definitions.network(token), token.usd or Decimal("0.1"))
