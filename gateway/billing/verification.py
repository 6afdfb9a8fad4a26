"""Verification of a claimed payment: by the facilitator, and the payer's funds on the chain if there is an endpoint."""

import asyncio
import logging

from gateway.billing.authorization import Authorization, RefusedPaymentError
from gateway.billing.claims import Claim
from gateway.billing.evm import values as evm
from gateway.billing.evm.chain import Chain, Funds
from gateway.billing.evm.rpc import ChainUnavailableError
from gateway.billing.facilitator import Facilitator, FacilitatorUnavailableError
from gateway.billing.journal import Entry
from gateway.billing.refusals import too_much_unsettled, unavailable
from gateway.billing.terms import PaymentTerms

log = logging.getLogger(__name__)


class Verifier:
    """``chain`` is None without an RPC endpoint."""

    def __init__(self, facilitator: Facilitator, chain: Chain | None) -> None:
        self._facilitator = facilitator
        self._chain = chain

    async def check_contract_account(self, signed: Authorization, terms: PaymentTerms) -> None:
        """Require a contract account, for a signature that the payer's own key did not make (facts/x402.md 1.3).

        Left to the facilitator if the chain cannot be read. Raises RefusedPaymentError.
        """
        try:
            if self._chain is None or not await self._chain.serves(terms.network):
                return
            if not await self._chain.has_code(signed.payer):
                raise RefusedPaymentError("invalid_signature", "The payment is not signed by its payer.")
        except ChainUnavailableError as error:
            log.warning("payer not looked up", extra={"reason": str(error)})

    async def verify(self, entry: Entry, terms: PaymentTerms, claim: Claim, *, sponsored: bool) -> None:
        """Raises RefusedPaymentError, FacilitatorUnavailableError, or GatewayError (429, 503).

        ``sponsored`` if an EIP-2612 permit provides the allowance.
        """
        if self._chain is None:
            await self._check_funds(entry, terms, claim, sponsored=sponsored)
            response = await self._facilitator.verify(entry.payment)
        else:
            response, _ = await asyncio.gather(
                self._facilitator.verify(entry.payment),
                self._check_funds(entry, terms, claim, sponsored=sponsored),
            )
        if not response.is_valid:
            reason = response.invalid_reason or "verification_failed"
            raise RefusedPaymentError(reason, f"The payment was refused: {response.invalid_message or reason}")
        if response.payer and response.payer.lower() != evm.as_hex(entry.payer):
            raise FacilitatorUnavailableError("the facilitator verified another payer")

    async def _check_funds(self, entry: Entry, terms: PaymentTerms, claim: Claim, *, sponsored: bool) -> None:
        """Require funds for all open payments of the payer, including this one (facts/x402.md 4 row 10)."""
        needed = claim.outstanding + entry.cap
        funds = await self._funds(entry, terms)
        if sponsored and claim.outstanding and (funds is None or funds.allowance < needed):
            raise too_much_unsettled(
                "An EIP-2612 permit covers one payment at a time; wait until the previous payment is settled."
            )
        if funds is None:
            return
        if funds.balance < needed:
            raise RefusedPaymentError("insufficient_funds", "The payer's balance does not cover its open payments.")
        if terms.method == "permit2" and not sponsored and funds.allowance < needed:
            raise RefusedPaymentError(
                "permit2_allowance_required",
                "The payer's Permit2 allowance does not cover its open payments, this one included, and no EIP-2612 "
                "permit was sent: approve Permit2, or use a client that reads the chain and signs a permit.",
            )

    async def _funds(self, entry: Entry, terms: PaymentTerms) -> Funds | None:
        """None without an RPC endpoint for the network; raises 503 if it is unavailable (facts/x402.md 1.11)."""
        try:
            if self._chain is None or not await self._chain.serves(terms.network):
                return None
            return await self._chain.funds(terms.token, entry.payer)
        except ChainUnavailableError as error:
            log.warning("funds not checked", extra={"payment": entry.id, "reason": str(error)})
            raise unavailable("The payer's funds could not be checked.") from None
