"""Admission of paid requests: check the quote, claim the authorization, verify the payment (facts/x402.md 1.10)."""

import logging
from collections.abc import Callable

from gateway.billing import authorization, x402
from gateway.billing.authorization import Authorization, RefusedPaymentError
from gateway.billing.claim_release import ClaimRelease
from gateway.billing.claims import (
    AlreadyClaimedError,
    Claim,
    ClaimPolicy,
    ExposureExceededError,
    PayerOwesError,
    TooMuchAbandonedError,
    is_in_use,
)
from gateway.billing.estimate import Estimate, Estimator
from gateway.billing.evm import eip2612
from gateway.billing.facilitator import FacilitatorUnavailableError
from gateway.billing.journal import Entry, IllegalTransitionError, State
from gateway.billing.journal_entry import new_entry
from gateway.billing.payment import Order
from gateway.billing.quote import Quoter
from gateway.billing.refusals import (
    invalid_payment,
    payment_in_flight,
    payment_required,
    settlement_failed,
    settlement_pending,
    too_much_unsettled,
    unavailable,
)
from gateway.billing.storage import retried_writes
from gateway.billing.storage.store import CommitUnknownError, StoreUnavailableError
from gateway.billing.terms import PaymentTerms
from gateway.billing.verification import Verifier
from gateway.billing.x402 import MalformedPaymentError
from gateway.billing.x402_payment import PaymentContext, X402Payment
from gateway.openai_api.errors import GatewayError

log = logging.getLogger(__name__)

_NO_PAYMENT = f"{x402.PAYMENT_SIGNATURE} header is required"
_V1_PAYMENT = f"x402 version 1 is not supported: pay with a {x402.PAYMENT_SIGNATURE} header (x402 version 2)"
_EXPECTED = (RefusedPaymentError, GatewayError, FacilitatorUnavailableError, StoreUnavailableError)
"""Errors whose text the journal may keep: that of any other may quote the request."""


class _UpfrontRequiredError(RefusedPaymentError):
    """The 402 offers upfront payment only."""


class Gate:
    """Admits or refuses each request. ``policy`` limits the exposure to one payer.

    ``clock`` is the Unix time that quotes expire by; signed deadlines are checked against ``context.clock``.
    """

    def __init__(
        self,
        context: PaymentContext,
        quoter: Quoter,
        estimator: Estimator,
        verifier: Verifier,
        policy: ClaimPolicy,
        clock: Callable[[], float],
    ) -> None:
        self._context = context
        self._definitions = context.definitions
        self._quoter = quoter
        self._estimator = estimator
        self._verifier = verifier
        self._policy = policy
        self._clock = clock

    async def admit(self, order: Order) -> X402Payment:
        """Return the verified payment for ``order``; raises GatewayError with the status of facts/x402.md 1.11."""
        estimate = self._estimator.estimate(order)
        header = order.headers.get(x402.PAYMENT_SIGNATURE.lower())
        if header is None:
            v1 = x402.V1_PAYMENT.lower() in order.headers
            raise self._payment_required(order, estimate, "payment_required", _V1_PAYMENT if v1 else _NO_PAYMENT)
        try:
            return await self._admit(order, estimate, header)
        except MalformedPaymentError as error:
            raise invalid_payment(str(error)) from None
        except RefusedPaymentError as error:
            raise self._payment_required(
                order, estimate, error.reason, str(error), upfront_only=isinstance(error, _UpfrontRequiredError)
            ) from None
        except FacilitatorUnavailableError as error:
            raise unavailable(f"The payment could not be verified: {error}", error.retry_after) from None
        except StoreUnavailableError as error:
            raise unavailable(f"The payment could not be recorded: {error}") from None

    def _payment_required(
        self, order: Order, estimate: Estimate, code: str, message: str, *, upfront_only: bool = False
    ) -> GatewayError:
        required = self._quoter.required(
            order.resource_url, estimate.usd, message, self._clock(), stream=order.stream, upfront_only=upfront_only
        )
        return payment_required(required, code)

    async def _admit(self, order: Order, estimate: Estimate, header: str) -> X402Payment:
        wire, contracts = self._definitions.wire, self._definitions.contracts
        payment = x402.read_payment(header, max_bytes=wire.payment_header_bytes, max_depth=wire.json_depth)
        signed = authorization.read(payment.payload)
        try:
            terms = self._quoter.accept(
                payment.accepted, payment.resource, order.path, self._clock(), stream=order.stream
            )
            self._check_quote(order, estimate, terms)
            authorization.check(signed, terms, contracts, self._definitions.deadlines, self._context.clock())
            permit = eip2612.read_permit(payment.extensions, signed, terms, contracts)
        except RefusedPaymentError:
            await self._require_not_in_use(signed)
            raise
        signed_by_key = authorization.signed_by_payer(signed, terms, contracts)
        if not signed_by_key:
            signed = signed.with_raw_signature()
        entry = new_entry(
            signed,
            terms,
            contracts,
            self._context.store.owner,
            resource_url=order.resource_url,
            permit=permit,
            by_contract=not signed_by_key,
        )
        if not signed_by_key:
            await self._verify_contract_signature(signed, terms, entry, sponsored=permit is not None)
        claim = await self._claim(entry)
        if terms.upfront:
            return await self._admit_upfront(order, terms, entry, estimate.output_limit)
        try:
            await self._verifier.verify(entry, terms, claim, sponsored=permit is not None)
            entry = await self._context.store.defer_move(entry, State.VERIFIED, State.SERVING)
        except Exception as error:
            await self._release_unserved(entry, error)
            raise
        return X402Payment(self._context, order, terms, entry, estimate.output_limit)

    async def _verify_contract_signature(
        self, signed: Authorization, terms: PaymentTerms, entry: Entry, *, sponsored: bool
    ) -> None:
        """Verify, before the claim, a payment that was not signed by the payer's own key.

        Anybody can forge such a payment, so nothing is claimed in the payer's name until the facilitator accepts it.
        """
        try:
            await self._verifier.check_contract_account(signed, terms)
            await self._verifier.verify(entry, terms, Claim(0), sponsored=sponsored)
        except RefusedPaymentError:
            await self._require_not_in_use(signed)
            raise

    async def _require_not_in_use(self, signed: Authorization) -> None:
        """Raise 409 while the payment is in use, even if its quote has expired or came from another process.

        A 402 would invite the client to pay a second time (facts/x402.md 4 row 8).
        """
        for entry in await self._context.store.find_all(authorization.possible_keys(signed, self._definitions)):
            if is_in_use(entry.state, upfront=entry.upfront):
                raise payment_in_flight(entry.state)

    def _check_quote(self, order: Order, estimate: Estimate, terms: PaymentTerms) -> None:
        """Require an amount that covers this request, whichever request was quoted (facts/x402.md 4 rows 14, 16)."""
        if not self._quoter.covers(terms, estimate.usd):
            raise RefusedPaymentError(
                "quote_too_small", "The maximum cost of this request exceeds the accepted amount."
            )
        if terms.scheme == "exact" and order.stream and not terms.upfront:
            raise RefusedPaymentError(
                "payment_flow_mismatch", "Streaming requires the 'upto' scheme, or 'exact' settled upfront."
            )

    async def _claim(self, entry: Entry) -> Claim:
        try:
            return await self._context.store.claim(entry, self._policy)
        except AlreadyClaimedError as error:
            if error.in_use:
                raise payment_in_flight(error.state) from None
            raise RefusedPaymentError(
                "payment_already_used", "This payment has already been used for another request."
            ) from None
        except PayerOwesError:
            raise _UpfrontRequiredError(
                "upfront_required",
                "Earlier responses have not been paid; until they are, payments are settled upfront.",
            ) from None
        except TooMuchAbandonedError as error:
            raise too_much_unsettled(
                "The payer left too many responses before it was charged for them.", error.seconds
            ) from None
        except ExposureExceededError as error:
            raise too_much_unsettled(f"The payer has too many unsettled payments: {error}.") from None
        except CommitUnknownError:
            self._release_detached(ClaimRelease(self._context.store, entry), entry, "the journal was lost")
            raise

    async def _admit_upfront(
        self, order: Order, terms: PaymentTerms, entry: Entry, output_limit: int | None
    ) -> X402Payment:
        """Settle before the work, or use the payer's credit, which needs no settlement and no verification."""
        try:
            if (covered := await self._context.store.take_credit(entry)) is not None:
                covered = await self._context.store.move(covered, State.VERIFIED, State.SERVING)
                return X402Payment(self._context, order, terms, covered, output_limit)
        except Exception as error:
            await self._release_unserved(entry, error)
            raise
        entry = await self._context.settlements.settle(entry, amount=terms.amount)
        if entry.state is State.PENDING:
            raise settlement_pending(entry)
        if entry.state is State.FAILED:
            raise settlement_failed(entry)
        return X402Payment(self._context, order, terms, entry, output_limit)

    async def _release_unserved(self, payment: Entry, error: Exception) -> None:
        """Release a payment that is not served, so that the payer can present it again.

        Written at once, or in the background once the journal is available. An entry that turns out to be SERVING,
        because a commit with an unknown outcome succeeded, is waived instead.
        """
        reason = str(error) if isinstance(error, _EXPECTED) else type(error).__name__
        release = ClaimRelease(self._context.store)
        try:
            await release(payment, State.RELEASED, note=reason)
        except StoreUnavailableError:
            self._release_detached(release, payment, reason)
        except IllegalTransitionError as illegal:
            log.warning("payment not released", extra={"payment": payment.id, "state": illegal.origin.value})

    def _release_detached(self, release: ClaimRelease, payment: Entry, reason: str) -> None:
        write = retried_writes.write(release, payment, State.RELEASED, note=reason)
        self._context.settlements.detach(write)
