"""The EIP-2612 permit of a Permit2 payment, in place of a first-time payer's approval transaction (facts/x402.md 1.7).

Declared in the 402, parsed from the payment, and forwarded to the facilitator.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.billing import x402
from gateway.billing.authorization import Authorization, RefusedPaymentError
from gateway.billing.definitions import Contracts
from gateway.billing.evm import eip712
from gateway.billing.evm import values as evm
from gateway.billing.terms import PaymentTerms

_PATTERNS = {
    "from": "^0x[a-fA-F0-9]{40}$",
    "asset": "^0x[a-fA-F0-9]{40}$",
    "spender": "^0x[a-fA-F0-9]{40}$",
    "amount": "^[0-9]+$",
    "nonce": "^[0-9]+$",
    "deadline": "^[0-9]+$",
    "signature": "^0x[a-fA-F0-9]+$",
    "version": r"^[0-9]+(\.[0-9]+)*$",
}

DECLARATION: dict[str, Any] = {
    "info": {"description": "The facilitator submits an EIP-2612 permit for Permit2.", "version": "1"},
    "schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {name: {"type": "string", "pattern": pattern} for name, pattern in _PATTERNS.items()},
        "required": list(_PATTERNS),
    },
}


class _Info(msgspec.Struct, frozen=True):
    """The permit as sent."""

    from_: str = msgspec.field(name="from")
    asset: str
    spender: str
    amount: str
    nonce: str
    deadline: str
    signature: str
    version: str = "1"


class _Permit(msgspec.Struct, frozen=True):
    owner: bytes
    token: bytes
    spender: bytes
    amount: int
    nonce: int
    deadline: int
    signature: bytes


def read_permit(
    extensions: Mapping[str, Any] | None, authorization: Authorization, terms: PaymentTerms, contracts: Contracts
) -> dict[str, Any] | None:
    """The EIP-2612 permit in ``extensions``, in the facilitator's form; None without one (facts/x402.md 1.7).

    Raises MalformedPaymentError, and RefusedPaymentError for a permit that does not cover this payment.
    """
    extension = (extensions or {}).get(x402.EIP2612_EXTENSION)
    info = extension.get("info") if isinstance(extension, dict) else None
    if not isinstance(info, dict) or "signature" not in info or not authorization.is_permit2:
        return None
    permit = _parse(info)
    token, permit2 = evm.address(terms.token.address), evm.address(contracts.permit2)
    expected = (authorization.payer, token, permit2, authorization.amount)
    if (permit.owner, permit.token, permit.spender, permit.amount) != expected:
        raise RefusedPaymentError("eip2612_mismatch", "The EIP-2612 permit is not for this payment.")
    if permit.deadline < authorization.deadline:
        raise RefusedPaymentError("eip2612_deadline_expired", "The EIP-2612 permit expires before the payment.")
    return {
        "info": {
            "from": evm.checksummed(authorization.payer),
            "asset": terms.token.address,
            "spender": contracts.permit2,
            "amount": str(authorization.amount),
            "nonce": str(permit.nonce),
            "deadline": str(permit.deadline),
            "signature": evm.as_hex(permit.signature),
            "version": "1",
        }
    }


def is_usable(permit: Mapping[str, Any], nonce: int, domain: bytes) -> bool:
    """Whether the permit of a payment, as read by ``read_permit``, is signed by its owner for ``nonce``.

    ``domain`` is the token's. A contract account's permit counts as not usable.
    """
    info = permit["info"]
    owner = evm.address(info["from"])
    digest = eip712.allowance_digest(
        domain,
        owner=owner,
        spender=evm.address(info["spender"]),
        value=int(info["amount"]),
        nonce=nonce,
        deadline=int(info["deadline"]),
    )
    return eip712.recover(digest, evm.hex_bytes(info["signature"])) == owner


def _parse(info: dict[str, Any]) -> _Permit:
    """Raises MalformedPaymentError."""
    try:
        wire = msgspec.convert(info, _Info)
        return _Permit(
            owner=evm.address(wire.from_),
            token=evm.address(wire.asset),
            spender=evm.address(wire.spender),
            amount=evm.uint256(wire.amount),
            nonce=evm.uint256(wire.nonce),
            deadline=evm.uint256(wire.deadline),
            signature=eip712.normalise_signature(evm.hex_bytes(wire.signature)),
        )
    except (msgspec.ValidationError, ValueError) as error:
        raise x402.MalformedPaymentError(f"extension {x402.EIP2612_EXTENSION}: {error}") from None
