"""One admitted payment: settled for the cost of its answer, or released (facts/x402.md 1.10.9-1.10.11)."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.billing import opengradient
from gateway.billing.abandonment import AbandonedAnswers
from gateway.billing.definitions import Definitions
from gateway.billing.facilitator import Facilitator, FacilitatorUnavailableError
from gateway.billing.journal import Entry, IllegalTransitionError, State
from gateway.billing.payment import Bill, Order, Receipt
from gateway.billing.pricing import atomic
from gateway.billing.receipt import PRIVATE, payment_response, receipt
from gateway.billing.refusals import payment_closed, settlement_failed, unavailable
from gateway.billing.settlement import Settlements
from gateway.billing.storage import retried_writes
from gateway.billing.storage.store import Store, StoreUnavailableError
from gateway.billing.terms import PaymentTerms
from gateway.billing.x402 import PAYMENT_RESPONSE
from gateway.signing import Envelope

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PaymentContext:
    """What every payment needs to be settled or released.

    ``clock`` is the Unix time that signed deadlines are checked against.
    """

    definitions: Definitions
    store: Store
    settlements: Settlements
    facilitator: Facilitator
    clock: Callable[[], float]
    abandoned: AbandonedAnswers


class X402Payment:
    """A payment whose request is being served. ``entry`` is SERVING, or SETTLED when it was paid upfront.

    An entry that is ``by_credit`` is covered by what the answers to earlier upfront payments did not cost.
    """

    def __init__(
        self, context: PaymentContext, order: Order, terms: PaymentTerms, entry: Entry, output_limit: int | None
    ) -> None:
        self._context = context
        self._order = order
        self._terms = terms
        self._entry = entry
        self.output_limit = output_limit

    @property
    def id(self) -> str:
        return self._entry.id

    @property
    def timeout(self) -> float | None:
        """None once settled: the signed deadline no longer matters."""
        if self._entry.state is State.SETTLED:
            return None
        return max(
            0.0,
            self._entry.deadline - self._context.clock() - self._context.definitions.deadlines.settle_margin_seconds,
        )

    @property
    def headers(self) -> Mapping[str, str]:
        if self._entry.state is not State.SETTLED:
            return PRIVATE
        return {PAYMENT_RESPONSE: payment_response(self._entry), **PRIVATE}

    async def settle(self, bill: Bill) -> Receipt:
        """Settle the metered amount (upto) or the quoted one (exact); a zero-cost answer is waived."""
        if opengradient.wants_settlement_data(self._order.headers):
            self._context.settlements.detach(self._submit_settlement_data(bill.envelope))
        try:
            if self._entry.state is State.SETTLED:
                await self._end_work(State.SERVED, cost_usd=bill.cost_usd, **self._credit(bill))
                entry = self._entry
            elif self._entry.by_credit or bill.cost_usd == 0:
                note = "paid by credit" if self._entry.by_credit else "nothing to charge"
                entry = await self._end_work(State.WAIVED, note=note, cost_usd=bill.cost_usd, **self._credit(bill))
            else:
                entry = await self._context.settlements.settle(
                    self._entry,
                    amount=self._amount_due(bill.cost_usd),
                    cost_usd=bill.cost_usd,
                    usage=opengradient.usage_metadata(self._order, self._terms, bill),
                )
        except StoreUnavailableError as error:
            log.exception("payment not journalled", extra={"payment": self._entry.id})
            raise unavailable(f"The payment could not be recorded: {error}") from None
        except IllegalTransitionError as error:
            log.exception("payment closed before its answer", extra={"payment": self._entry.id})
            raise payment_closed(error.origin) from None
        if entry.state is State.FAILED:
            raise settlement_failed(entry)
        if self._context.abandoned.unpaid:
            self._context.abandoned.charged(entry.payer, bill.cost_usd)
        return receipt(entry, bill.cost_usd)

    async def release(self, reason: str, unpaid_usd: Decimal | None = None) -> None:
        """Waive the payment. The authorization counts as used: work was done for it, and its nonce is still open.

        An answer that was cut at a deadline which leaves less than half of the offered time costs up to the cap.
        """
        entry = self._entry
        offered_seconds = self._context.definitions.quotes.max_timeout_seconds
        if self.timeout == 0 and entry.deadline - entry.updated < offered_seconds / 2:
            unpaid_usd = entry.cap_usd
        if unpaid_usd is not None:
            self._context.abandoned.add(entry.payer, unpaid_usd)
        state, changes = entry.uncharged_end(reason)
        if "credited" in changes:
            log.info("credited", extra={"payment": entry.id, "reason": reason})
        write = retried_writes.write(self._context.store.move, entry, state, **changes)
        self._context.settlements.detach(write)

    async def _end_work(self, state: State, **changes: Any) -> Entry:
        """The entry at the end of work that is not charged any more; written later if the journal is unavailable."""
        move = self._context.store.move
        try:
            return await move(self._entry, state, **changes)
        except StoreUnavailableError as error:
            self._context.settlements.detach(retried_writes.retry(error, move, self._entry, state, **changes))
            return self._entry.transition(state, **changes)

    def _credit(self, bill: Bill) -> dict[str, int]:
        """What an answer that was cut or is free did not cost of what was paid for it before the work (4 row 23)."""
        prepaid = self._entry.state is State.SETTLED or self._entry.by_credit
        if not prepaid or (bill.cost_usd and not bill.cut):
            return {}
        log.info("credited", extra={"payment": self._entry.id, "reason": "the answer was cut or is free"})
        return {"credited": self._terms.amount - self._metered(bill.cost_usd)}

    def _amount_due(self, cost_usd: Decimal) -> int:
        return self._terms.amount if self._terms.scheme == "exact" else self._metered(cost_usd)

    def _metered(self, cost_usd: Decimal) -> int:
        due = atomic(cost_usd, self._terms.rate, self._terms.token.decimals)
        if due > self._terms.amount:
            log.error("answer costs more than its cap", extra={"payment": self._entry.id, "due": due})
        return min(due, self._terms.amount)

    async def _submit_settlement_data(self, envelope: Envelope) -> None:
        try:
            await self._context.facilitator.settle_data(opengradient.settlement_data(envelope))
        except FacilitatorUnavailableError as error:
            log.warning("settlement data lost", extra={"payment": self._entry.id, "reason": str(error)})
