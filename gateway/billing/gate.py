"""Lets paid requests in: quote, claim and verify, in the order of facts/x402.md 1.10."""

import logging
import time
from collections.abc import Callable
from typing import Any

from gateway.billing import authorization, x402
from gateway.billing.authorization import Authorization, RefusedPaymentError
from gateway.billing.claims import (
    AlreadyClaimedError,
    Claim,
    ClaimPolicy,
    ExposureExceededError,
    PayerOwesError,
    is_in_use,
)
from gateway.billing.estimate import Estimate, Estimator
from gateway.billing.evm import eip2612
from gateway.billing.facilitator import FacilitatorUnavailableError
from gateway.billing.journal import Entry, IllegalTransitionError, State
from gateway.billing.journal_entry import new_entry
from gateway.billing.payment import Order
from gateway.billing.quote import Quoter
from gateway.billing.receipt import settlement_failed
from gateway.billing.refusals import (
    invalid_payment,
    payment_in_flight,
    payment_required,
    settlement_pending,
    too_much_unsettled,
    unavailable,
)
from gateway.billing.storage.store import CommitUnknownError, StoreUnavailableError
from gateway.billing.terms import PaymentTerms
from gateway.billing.verification import Verifier
from gateway.billing.x402 import MalformedPaymentError
from gateway.billing.x402_payment import PaymentContext, X402Payment
from gateway.openai_api.errors import GatewayError

log = logging.getLogger(__name__)

_NOTHING_PAID = f"{x402.PAYMENT_SIGNATURE} header is required"
_VERSION_1 = f"x402 version 1 is not spoken here: pay with a {x402.PAYMENT_SIGNATURE} header (x402 version 2)"


class _OwesError(RefusedPaymentError):
    """Answered with upfront offers only."""


class Gate:
    """Decides on one request after another. ``policy`` limits what one payer may have open.

    ``clock`` is Unix time, that quotes expire by; what payers signed expires by the context's.
    """

    def __init__(
        self,
        context: PaymentContext,
        quoter: Quoter,
        estimator: Estimator,
        verifier: Verifier,
        policy: ClaimPolicy,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._context = context
        self._definitions = context.definitions
        self._quoter = quoter
        self._estimator = estimator
        self._verifier = verifier
        self._policy = policy
        self._clock = clock

    async def admit(self, order: Order) -> X402Payment:
        """The verified payment of ``order``; raises GatewayError with the status that facts/x402.md 1.11 gives it."""
        estimate = self._estimator.estimate(order)
        header = order.headers.get(x402.PAYMENT_SIGNATURE.lower())
        if header is None:
            v1 = x402.V1_PAYMENT.lower() in order.headers
            raise self._offer(order, estimate, "payment_required", _VERSION_1 if v1 else _NOTHING_PAID)
        try:
            return await self._admit(order, estimate, header)
        except MalformedPaymentError as error:
            raise invalid_payment(str(error)) from None
        except RefusedPaymentError as error:
            raise self._offer(
                order, estimate, error.reason, str(error), upfront_only=isinstance(error, _OwesError)
            ) from None
        except FacilitatorUnavailableError as error:
            raise unavailable(f"The payment cannot be verified now: {error}", error.retry_after) from None
        except StoreUnavailableError as error:
            raise unavailable(f"The payment cannot be recorded now: {error}") from None

    def _offer(
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
            terms = self._quoter.accept(payment.accepted, payment.resource, order.path, self._clock())
            self._check_quote(order, estimate, terms)
            authorization.check(signed, terms, contracts, self._definitions.deadlines, self._context.clock())
            permit = eip2612.read_permit(payment.extensions, signed, terms, contracts)
        except RefusedPaymentError:
            await self._require_not_in_use(signed)
            raise
        own_key = authorization.signed_by_payer(signed, terms, contracts)
        if not own_key:
            signed = signed.with_raw_signature()
        entry = new_entry(
            signed, terms, contracts, self._context.store.owner, resource_url=order.resource_url, permit=permit
        )
        if not own_key:
            await self._require_signature(signed, terms, entry, sponsored=permit is not None)
        claim = await self._claim(entry)
        if terms.upfront:
            return await self._admit_upfront(order, terms, entry, estimate.output_limit)
        try:
            await self._verifier.verify(entry, terms, claim, sponsored=permit is not None)
            entry = await self._context.store.defer_move(entry, State.VERIFIED, State.SERVING)
        except Exception as error:
            await self._give_back(entry, str(error))
            raise
        return X402Payment(self._context, order, terms, entry, estimate.output_limit)

    async def _require_signature(
        self, signed: Authorization, terms: PaymentTerms, entry: Entry, *, sponsored: bool
    ) -> None:
        """Of a payer whose own key did not sign. Anybody may have made such a payment, so that nothing is claimed in
        its payer's name before the facilitator has accepted it."""
        try:
            await self._verifier.check_contract_account(signed, terms)
            await self._verifier.verify(entry, terms, Claim(0), sponsored=sponsored)
        except RefusedPaymentError:
            await self._require_not_in_use(signed)
            raise

    async def _require_not_in_use(self, signed: Authorization) -> None:
        """Nobody is offered to pay again while a payment is in use (facts/x402.md 4 row 8), though its quote has
        expired meanwhile, or was another process's. Raises 409."""
        for entry in await self._context.store.find_all(authorization.possible_keys(signed, self._definitions)):
            if is_in_use(entry.state, upfront=entry.upfront):
                raise payment_in_flight(entry.state)

    def _check_quote(self, order: Order, estimate: Estimate, terms: PaymentTerms) -> None:
        """The amount is enough for this request, whatever request it was quoted for (facts/x402.md 4 rows 14, 16)."""
        if not self._quoter.covers(terms, estimate.usd):
            raise RefusedPaymentError("quote_too_small", "This request can cost more than what was quoted.")
        if terms.scheme == "exact" and order.stream and not terms.upfront:
            raise RefusedPaymentError("payment_flow_mismatch", "A stream is paid by upto, or by exact upfront.")

    async def _claim(self, entry: Entry) -> Claim:
        try:
            return await self._context.store.claim(entry, self._policy)
        except AlreadyClaimedError as error:
            if error.in_use:
                raise payment_in_flight(error.state) from None
            raise RefusedPaymentError("payment_already_used", "This payment was used for another request.") from None
        except PayerOwesError:
            raise _OwesError(
                "upfront_required", "Earlier answers were not paid; until they are, payments are taken upfront."
            ) from None
        except ExposureExceededError as error:
            raise too_much_unsettled(f"Too much of this payer is in flight: {error}.") from None
        except CommitUnknownError:
            self._context.settlements.detach(self._undo_claim(entry))
            raise

    async def _undo_claim(self, claimed: Entry) -> None:
        """Releases what this very claim, of which nobody knows whether it was made, has entered."""

        async def release(entry: Entry, to: State, **changes: Any) -> Entry:
            known = await self._context.store.find(entry.key)
            if known is None or (known.state, known.owner, known.updated) != (entry.state, entry.owner, entry.updated):
                return entry
            return await self._context.store.move(known, to, **changes)

        await self._context.settlements.write(release, claimed, State.RELEASED, note="the journal was lost")

    async def _admit_upfront(
        self, order: Order, terms: PaymentTerms, entry: Entry, output_limit: int | None
    ) -> X402Payment:
        """Settled before the work, or covered by what an earlier upfront payment bought in vain, which takes no more
        money and is given on its payer's signature alone."""
        try:
            if (covered := await self._context.store.take_credit(entry)) is not None:
                covered = await self._context.store.move(covered, State.VERIFIED, State.SERVING)
                return X402Payment(self._context, order, terms, covered, output_limit)
        except Exception as error:
            await self._give_back(entry, str(error))
            raise
        entry = await self._context.settlements.settle(entry, amount=terms.amount)
        if entry.state is State.PENDING:
            raise settlement_pending(entry)
        if entry.state is State.FAILED:
            raise settlement_failed(entry)
        return X402Payment(self._context, order, terms, entry, output_limit)

    async def _give_back(self, payment: Entry, why: str) -> None:
        """The payment is not served and stays good, as its payer is told; written at once, or when the journal is
        back. One that the journal, lost while it committed, holds for served already is waived instead."""
        try:
            await self._release(payment, State.RELEASED, note=why)
        except StoreUnavailableError:
            self._context.settlements.detach(self._release_later(payment, why))
        except IllegalTransitionError as error:
            log.warning("payment not given back", extra={"payment": payment.id, "state": error.origin.value})

    async def _release_later(self, payment: Entry, why: str) -> None:
        await self._context.settlements.write(self._release, payment, State.RELEASED, note=why)

    async def _release(self, payment: Entry, to: State, **changes: Any) -> Entry:
        """A move of what the journal knows of the payment: whether credit was taken for it, it knows best."""
        known = await self._context.store.find(payment.key) or payment
        if known.by_credit:
            changes["credited"] = known.cap
        return await self._context.store.move(known, State.WAIVED if known.state is State.SERVING else to, **changes)
