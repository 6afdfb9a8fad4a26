"""Signed payment authorizations: strict parsing, comparison with the offered terms, signature recovery.

Only signed fields are used, not the client's echo of the offer, which facilitators do not check (facts/x402.md 1.10).
All encodings of one authorization have the same key, and what is forwarded is re-encoded from the parsed values.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.billing import x402
from gateway.billing.definitions import Contracts, Deadlines, Definitions, Network, Token
from gateway.billing.evm import eip712
from gateway.billing.evm import values as evm
from gateway.billing.terms import PaymentTerms


class RefusedPaymentError(Exception):
    """A well-formed payment that is not acceptable. ``reason`` is an x402 reason code."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """One signed transfer, EIP-3009 or Permit2.

    ``spender`` and ``facilitator`` are None where the message has no such field; ``token`` is None for EIP-3009,
    whose token is the verifying contract. Times are Unix seconds; ``signature`` is normalised, ``raw_signature`` is
    not.
    """

    payer: bytes
    payee: bytes
    amount: int
    nonce: int
    valid_after: int
    deadline: int
    signature: bytes
    token: bytes | None = None
    spender: bytes | None = None
    facilitator: bytes | None = None
    raw_signature: bytes = b""

    @property
    def is_permit2(self) -> bool:
        return self.spender is not None

    def with_raw_signature(self) -> "Authorization":
        """With the unnormalised signature: only a contract account can interpret its own format."""
        return msgspec.structs.replace(self, signature=self.raw_signature)

    def payload(self) -> dict[str, Any]:
        """The x402 payload for the facilitator."""
        signature = evm.as_hex(self.signature)
        if self.spender is None:
            return {"signature": signature, "authorization": self._transfer()}
        return {"signature": signature, "permit2Authorization": self._permit()}

    def _transfer(self) -> dict[str, Any]:
        return {
            "from": evm.checksummed(self.payer),
            "to": evm.checksummed(self.payee),
            "value": str(self.amount),
            "validAfter": str(self.valid_after),
            "validBefore": str(self.deadline),
            "nonce": evm.as_hex(evm.word(self.nonce)),
        }

    def _permit(self) -> dict[str, Any]:
        assert self.token is not None and self.spender is not None  # noqa: S101, PT018 - permit2 has both
        witness = {"to": evm.checksummed(self.payee), "validAfter": str(self.valid_after)}
        if self.facilitator is not None:
            witness["facilitator"] = evm.checksummed(self.facilitator)
        return {
            "from": evm.checksummed(self.payer),
            "permitted": {"token": evm.checksummed(self.token), "amount": str(self.amount)},
            "spender": evm.checksummed(self.spender),
            "nonce": str(self.nonce),
            "deadline": str(self.deadline),
            "witness": witness,
        }


def read(payload: x402.SchemePayload) -> Authorization:
    """The authorization in a payload; raises MalformedPaymentError."""
    try:
        raw = evm.hex_bytes(payload.signature)
        signature = eip712.normalise_signature(raw)
        if isinstance(payload.authorization, x402.Eip3009Authorization):
            return _read_transfer(payload.authorization, signature, raw)
        if isinstance(payload.permit2_authorization, x402.Permit2Authorization):
            return _read_permit(payload.permit2_authorization, signature, raw)
    except ValueError as error:
        name = _unreadable(msgspec.to_builtins(payload))
        raise x402.MalformedPaymentError(f"payment payload: '{name}' is {error}") from None
    raise x402.MalformedPaymentError("payment payload contains no authorization")


def _unreadable(payload: dict[str, Any]) -> str | None:
    """The path of the first value in ``payload`` that cannot be read."""
    readers = _READERS if "spender" in payload else _READERS | {"nonce": evm.bytes32}
    for name, value in payload.items():
        if isinstance(value, dict):
            if found := _unreadable(value):
                return f"{name}.{found}"
            continue
        try:
            readers[name](value)
        except ValueError:
            return name
    return None


_READERS: dict[str, Callable[[str], object]] = {
    "signature": evm.hex_bytes,
    **dict.fromkeys(("from", "to", "token", "spender", "facilitator"), evm.address),
    **dict.fromkeys(("value", "amount", "validAfter", "validBefore", "deadline"), evm.uint256),
    "nonce": lambda text: evm.uint256(text, hexadecimal=True),
}
"""By name; the nonce is that of Permit2."""


def _read_transfer(wire: x402.Eip3009Authorization, signature: bytes, raw: bytes) -> Authorization:
    return Authorization(
        payer=evm.address(wire.from_),
        payee=evm.address(wire.to),
        amount=evm.uint256(wire.value),
        nonce=int.from_bytes(evm.bytes32(wire.nonce), "big"),
        valid_after=evm.uint256(wire.valid_after),
        deadline=evm.uint256(wire.valid_before),
        signature=signature,
        raw_signature=raw,
    )


def _read_permit(wire: x402.Permit2Authorization, signature: bytes, raw: bytes) -> Authorization:
    facilitator = wire.witness.facilitator
    return Authorization(
        payer=evm.address(wire.from_),
        payee=evm.address(wire.witness.to),
        amount=evm.uint256(wire.permitted.amount),
        nonce=evm.uint256(wire.nonce, hexadecimal=True),
        valid_after=evm.uint256(wire.witness.valid_after),
        deadline=evm.uint256(wire.deadline),
        signature=signature,
        raw_signature=raw,
        token=evm.address(wire.permitted.token),
        spender=evm.address(wire.spender),
        facilitator=None if facilitator is msgspec.UNSET else evm.address(facilitator),
    )


def check(
    authorization: Authorization, terms: PaymentTerms, contracts: Contracts, deadlines: Deadlines, now: float
) -> None:
    """Compare every signed field with ``terms``; raises RefusedPaymentError on the first that differs.

    ``now`` is Unix time. The deadline must leave time to answer and to settle, and be near enough for the nonce to be
    kept until then.
    """
    permit2 = authorization.is_permit2
    if permit2 != (terms.method == "permit2"):
        raise RefusedPaymentError(
            "unsupported_payload_type", f"The accepted offer requires the transfer method {terms.method}."
        )
    kind = "permit2" if permit2 else "invalid_exact_evm_payload_authorization"
    least = now + deadlines.settle_margin_seconds + deadlines.least_answer_seconds
    for passed, reason, message in (
        *(_permit2_checks(authorization, terms, contracts) if permit2 else ()),
        (authorization.payee == terms.payee, f"{kind}_recipient_mismatch", "is signed for another payee"),
        (authorization.amount == terms.amount, f"{kind}_amount_mismatch", "is not signed for the accepted amount"),
        (authorization.valid_after <= now, f"{kind}_not_yet_valid", "is not valid yet"),
        (
            authorization.deadline >= least,
            f"{kind}_deadline_expired",
            "expires too early for the response to be served and settled",
        ),
        (
            authorization.deadline <= now + deadlines.furthest_seconds,
            f"{kind}_deadline_too_far",
            f"is valid for more than {deadlines.furthest_seconds} seconds",
        ),
    ):
        if not passed:
            raise RefusedPaymentError(reason, f"The payment authorization {message}.")


def _permit2_checks(
    authorization: Authorization, terms: PaymentTerms, contracts: Contracts
) -> tuple[tuple[bool, str, str], ...]:
    upto = terms.scheme == "upto"
    proxy = evm.address(contracts.upto_proxy if upto else contracts.exact_proxy)
    token = evm.address(terms.token.address)
    facilitator = terms.facilitator if upto else None
    return (
        (authorization.token == token, "permit2_token_mismatch", "is signed for another token"),
        (
            authorization.spender == proxy,
            "invalid_permit2_spender",
            f"does not name the {terms.scheme} proxy as its spender",
        ),
        (authorization.facilitator == facilitator, "upto_facilitator_mismatch", "is signed for another facilitator"),
    )


def signed_by_payer(authorization: Authorization, terms: PaymentTerms, contracts: Contracts) -> bool:
    """Whether the payer's own key signed. False is inconclusive for a contract account."""
    return eip712.recover(digest(authorization, terms, contracts), authorization.signature) == authorization.payer


def digest(authorization: Authorization, terms: PaymentTerms, contracts: Contracts) -> bytes:
    """The EIP-712 digest of the authorization on the network and token of ``terms``."""
    chain_id = terms.network.chain_id
    if authorization.token is None or authorization.spender is None:
        token = terms.token
        return eip712.transfer_digest(
            eip712.token_domain(token.name, token.version, chain_id, evm.address(token.address)),
            payer=authorization.payer,
            payee=authorization.payee,
            value=authorization.amount,
            valid_after=authorization.valid_after,
            valid_before=authorization.deadline,
            nonce=authorization.nonce,
        )
    return eip712.permit2_digest(
        eip712.permit2_domain(chain_id, evm.address(contracts.permit2)),
        token=authorization.token,
        amount=authorization.amount,
        spender=authorization.spender,
        nonce=authorization.nonce,
        deadline=authorization.deadline,
        payee=authorization.payee,
        facilitator=authorization.facilitator,
        valid_after=authorization.valid_after,
    )


def claim_key(authorization: Authorization, network: Network, token: Token, contracts: Contracts) -> bytes:
    """The unique key of a payment: chain id (8 bytes), contract that tracks the nonce (20), payer (20), nonce (32)."""
    contract = contracts.permit2 if authorization.is_permit2 else token.address
    return (
        network.chain_id.to_bytes(8, "big")
        + evm.address(contract)
        + authorization.payer
        + evm.word(authorization.nonce)
    )


def possible_keys(authorization: Authorization, definitions: Definitions) -> set[bytes]:
    """Every claim key that the authorization can have, over all networks and tokens."""
    return {
        claim_key(authorization, definitions.network(token), token, definitions.contracts)
        for token in definitions.tokens.values()
    }
