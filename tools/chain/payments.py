"""Signed payments without a server: an offer, what a payer makes of it, and the bodies a facilitator is sent."""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from x402.extensions.eip2612_gas_sponsoring import declare_eip2612_gas_sponsoring_extension
from x402.schemas import PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo

from tools.chain.deployment import NETWORK, PAYEE, Token
from tools.chain.wallet import Wallet

Json = dict[str, Any]
TransferMethod = Literal["eip3009", "permit2"]


def exact_offer(
    token: Token, amount: int, *, method: TransferMethod = "eip3009", payee: str = PAYEE.address
) -> PaymentRequirements:
    """`amount` in atomic units, exactly."""
    extra = token.domain | ({"assetTransferMethod": "permit2"} if method == "permit2" else {})
    return _requirements("exact", token, amount, payee, extra)


def upto_offer(token: Token, cap: int, facilitator: str, *, payee: str = PAYEE.address) -> PaymentRequirements:
    """Any amount up to `cap` atomic units, settled by the facilitator of this address and no other."""
    extra = token.domain | {"assetTransferMethod": "permit2", "facilitatorAddress": facilitator}
    return _requirements("upto", token, cap, payee, extra)


def payment_required(*offers: PaymentRequirements, url: str = "http://localhost/paid") -> PaymentRequired:
    """The 402 object, in which the payer is told that the facilitator takes EIP-2612 permits."""
    return PaymentRequired(
        x402_version=2,
        error="PAYMENT-SIGNATURE header is required",
        resource=ResourceInfo(url=url, description="A paid resource", mime_type="application/json"),
        accepts=list(offers),
        extensions=declare_eip2612_gas_sponsoring_extension(),
    )


@dataclass(frozen=True, slots=True)
class Payment:
    """A signed payload beside the requirements that it answers."""

    payload: PaymentPayload
    requirements: PaymentRequirements

    @classmethod
    async def sign(cls, wallet: Wallet, offer: PaymentRequirements, rpc_url: str | None = None) -> "Payment":
        """With `rpc_url` an EIP-2612 permit is added when the allowance falls short of the offer.

        In a thread and a loop of its own, since the package's coroutine reads the chain with blocking calls.
        """
        client = wallet.x402_client(rpc_url)
        payload = await asyncio.to_thread(lambda: asyncio.run(client.create_payment_payload(payment_required(offer))))
        if not isinstance(payload, PaymentPayload):
            raise TypeError("the client answered an x402 v2 offer with a v1 payload")
        return cls(payload, offer)

    @property
    def authorization(self) -> Json:
        """The signed fields: `permit2Authorization`, or EIP-3009's `authorization`."""
        fields: Json = self.payload.payload.get("permit2Authorization") or self.payload.payload["authorization"]
        return fields

    def body(self, *, amount: int | None = None, **requirements: Any) -> Json:
        """For /verify and /settle, with fields of the server's requirements replaced (by their Python names)."""
        changes = requirements if amount is None else requirements | {"amount": str(amount)}
        return {
            "x402Version": 2,
            "paymentPayload": _dump(self.payload),
            "paymentRequirements": _dump(self.requirements.model_copy(update=changes)),
        }


def _requirements(scheme: str, token: Token, amount: int, payee: str, extra: dict[str, str]) -> PaymentRequirements:
    return PaymentRequirements(
        scheme=scheme,
        network=NETWORK,
        asset=token.address,
        amount=str(amount),
        pay_to=payee,
        max_timeout_seconds=600,
        extra=extra,
    )


def _dump(model: PaymentPayload | PaymentRequirements) -> Json:
    return model.model_dump(by_alias=True, exclude_none=True, mode="json")
