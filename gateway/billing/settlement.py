"""Settles each payment once, in a task that outlives its request, until the outcome is known or the deadline passes.

The amount is frozen in the journal before the facilitator hears of it. What is unknown is reconciled, never priced
anew (facts/x402.md 1.10.10, 4 rows 6, 7): the chain is asked, and the identical settlement sent again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from gateway.billing.definitions import Definitions
from gateway.billing.facilitator import Facilitator
from gateway.billing.journal import Entry, IllegalTransitionError, State, TransferAlreadyMatchedError
from gateway.billing.outcome import Outcome, Refused, Settled, Unknown
from gateway.billing.payment_metrics import PaymentMetrics
from gateway.billing.reconciliation import NONCE_SPENT, Reconciler
from gateway.billing.storage.store import Store, StoreUnavailableError

log = logging.getLogger(__name__)

_FIRST_RETRY = 1.0
_LONGEST_WAIT = 30.0
_LAST_LOOK = 30.0
_PAYERS_FAULTS = (
    "insufficient_balance",
    "insufficient_funds",
    "allowance",
    "nonce_already_used",
    "invalid_nonce",
    NONCE_SPENT,
)
"""In x402's words. A facilitator's account that pays for gas has nonces, too, which are not the payer's to spend."""


class _Run:
    """One settlement under way. ``first`` is the first that can be told: an end, or that it takes longer; None where
    nobody waits for it.

    ``late`` once nobody waits for its end any more. ``begun`` is when it began, on the monotonic clock; None for one
    that another worker began.
    """

    __slots__ = ("begun", "entry", "first", "late")

    def __init__(self, first: asyncio.Future[Entry] | None = None, begun: float | None = None) -> None:
        self.begun = begun
        self.first = first
        self.entry: Entry | None = None
        self.late = first is None

    def tell(self, entry: Entry) -> None:
        first = self.first
        if first is None or (first.done() and not first.cancelled()):
            return
        self.late = entry.state is State.PENDING
        if not first.done():
            first.set_result(entry)

    def cannot_begin(self, error: Exception) -> None:
        if self.first is not None and not self.first.done():
            self.first.set_exception(error)

    def hold_no_longer(self) -> None:
        """Whoever waits is told that it takes longer."""
        if self.entry is None:
            self.cannot_begin(StoreUnavailableError("the journal does not answer"))
            self.late = True
        else:
            self.tell(msgspec.structs.replace(self.entry, state=State.PENDING))


class Settlements:
    """All settlements of this process. ``clock`` is Unix time."""

    def __init__(
        self,
        store: Store,
        facilitator: Facilitator,
        reconciler: Reconciler,
        definitions: Definitions,
        clock: Callable[[], float] = time.time,
        metrics: PaymentMetrics | None = None,
    ) -> None:
        self._store = store
        self._facilitator = facilitator
        self._reconciler = reconciler
        self._times = definitions.settlement
        self._clock = clock
        self._metrics = metrics or PaymentMetrics(CollectorRegistry())
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_end: list[Callable[[Entry], None]] = []
        """Called with every payment that has come to its end."""

    async def settle(self, payment: Entry, **fields: Any) -> Entry:
        """Take a payment to SETTLING with ``fields``, and on; the entry once its end is known, or as PENDING.

        Waits no longer than an answer may be held. The settlement goes on either way, and when the caller is
        cancelled. Raises StoreUnavailableError when it could not be written down, which means that it did not begin.
        """
        loop = asyncio.get_running_loop()
        first: asyncio.Future[Entry] = loop.create_future()
        run = _Run(first, time.monotonic())
        self.detach(self._begin(run, payment, fields))
        patience = loop.call_later(self._times.hold_seconds, run.hold_no_longer)
        try:
            return await first
        finally:
            patience.cancel()

    def resume(self, entry: Entry) -> None:
        """Go on with a SETTLING or PENDING payment of a worker that is gone."""
        run = _Run()
        self.detach(self._finish(run, entry, Unknown("its worker was lost", entry.transaction, entry.job)))

    @property
    def task_count(self) -> int:
        """How many tasks have not ended."""
        return len(self._tasks)

    def detach(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` independently of any request; ``drain`` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a detached task failed", exc_info=error)

    async def drain(self, seconds: float) -> int:
        """Wait for what is under way; how many are left, which the next worker resumes from the journal."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)

    async def _begin(self, run: _Run, payment: Entry, fields: dict[str, Any]) -> None:
        try:
            run.entry = entry = await self._store.move(payment, State.SETTLING, **fields)
        except StoreUnavailableError as error:
            run.cannot_begin(error)
            run.late = True
            entry = await self._write_again(error, self._store.move, payment, State.SETTLING, fields)
        except Exception as error:
            run.cannot_begin(error)
            return
        if run.late:
            await self._finish(run, entry, Refused("journal_too_slow", "its answer was withheld meanwhile"))
            return
        try:
            outcome = await self._facilitator.settle(entry.payment, _asking(entry), entry.usage)
            outcome = await self._reconciler.judge(entry, outcome, first=True)
        except Exception:
            log.exception("settlement", extra={"payment": entry.id})
            outcome = Unknown("the gateway failed while settling")
        await self._finish(run, entry, outcome)

    async def _finish(self, run: _Run, entry: Entry, outcome: Outcome) -> None:
        """Reconcile until the outcome is known or nothing can change it any more."""
        wait = 0.0 if run.late else _FIRST_RETRY
        while isinstance(outcome, Unknown) and self._clock() < entry.deadline + _LAST_LOOK:
            await asyncio.sleep(wait)
            outcome = await self._again(entry, outcome)
            if isinstance(outcome, Unknown):
                entry = await self._note_pending(entry, outcome)
                run.tell(entry)
            wait = min(max(wait * 1.5, self._times.retry_seconds), _LONGEST_WAIT)
        if isinstance(outcome, Unknown):
            outcome = await self._reconciler.look(entry) or outcome
        before, entry = entry, await self._conclude(entry, outcome)
        self._metrics.ended(before, entry, None if run.begun is None else time.monotonic() - run.begun)
        for heard in self.on_end:
            heard(entry)
        if entry.upfront and run.late and entry.state is State.SETTLED:
            note = "credited: it was paid too late"
            entry = await self.write(self._store.move, entry, State.SERVED, note=note, credited=entry.cap)
        run.tell(entry)

    async def _again(self, entry: Entry, unknown: Unknown) -> Outcome:
        """The chain's word; a queued job's; or the identical settlement once more, while its deadline allows."""
        if (seen := await self._reconciler.look(entry)) is not None:
            return seen
        if unknown.job:
            outcome = await self._facilitator.follow(unknown.job, _asking(entry))
        elif self._clock() < entry.deadline - self._times.give_up_before_deadline_seconds:
            outcome = await self._facilitator.settle(entry.payment, _asking(entry), entry.usage)
        else:
            return unknown
        return await self._reconciler.judge(entry, outcome, first=False)

    async def _note_pending(self, entry: Entry, unknown: Unknown) -> Entry:
        if entry.state is State.PENDING and (entry.transaction, entry.job) == (unknown.transaction, unknown.job):
            return entry
        if entry.state is State.PENDING:
            return msgspec.structs.replace(entry, transaction=unknown.transaction, job=unknown.job)
        self._metrics.became_pending()
        log.warning("settlement pending", extra={"payment": entry.id, "reason": unknown.reason})
        return await self.write(
            self._store.move,
            entry,
            State.PENDING,
            transaction=unknown.transaction,
            job=unknown.job,
            note=unknown.reason,
        )

    async def _conclude(self, entry: Entry, outcome: Outcome) -> Entry:
        match outcome:
            case Settled(transaction, amount, matches):
                paid = entry.amount if amount is None else amount
                note = "" if paid == entry.amount else f"{entry.amount} was asked for"
                if note:
                    log.error(
                        "settled another amount", extra={"payment": entry.id, "asked": entry.amount, "paid": paid}
                    )
                changes = {"transaction": transaction, "settled_amount": paid, "note": note, "job": ""}
                if matches is not None:
                    return await self._record_reconciled(entry, matches, changes)
                step = self._store.move if entry.upfront else self._store.defer_move
                return await self.write(step, entry, State.SETTLED, **changes)
            case Refused(reason, message, transaction):
                log.error("settlement refused", extra={"payment": entry.id, "reason": reason})
                fault = any(word in reason for word in _PAYERS_FAULTS)
                note = f"{reason}: {message}"[:300] if message else reason
                changes = {"transaction": transaction, "note": note, "payers_fault": fault, "job": ""}
                return await self.write(self._store.move, entry, State.FAILED, **changes)
            case Unknown(why):
                log.error("settlement unresolved at its deadline", extra={"payment": entry.id, "reason": why})
                return await self.write(self._store.move, entry, State.FAILED, note=f"unresolved: {why}")

    async def _record_reconciled(self, entry: Entry, matches: int, changes: dict[str, Any]) -> Entry:
        """By a transfer that no other payment stands by: one call can repeat what was signed for several."""

        async def settle(payment: Entry, _: State, **changes: Any) -> Entry:
            return await self._store.reconcile(payment, matches=matches, **changes)

        try:
            return await self.write(settle, entry, State.SETTLED, **changes)
        except TransferAlreadyMatchedError:
            return await self._conclude(entry, Refused(NONCE_SPENT, "what was paid was another payment"))

    async def write(self, step: Callable[..., Awaitable[Entry]], entry: Entry, state: State, **changes: Any) -> Entry:
        """``step`` is the store's ``move`` or ``defer_move``, tried until the store is there or ``drain`` ends it."""
        try:
            return await step(entry, state, **changes)
        except StoreUnavailableError as error:
            return await self._write_again(error, step, entry, state, changes)

    async def _write_again(
        self,
        error: StoreUnavailableError,
        step: Callable[..., Awaitable[Entry]],
        entry: Entry,
        state: State,
        changes: dict[str, Any],
    ) -> Entry:
        """A store that is lost while it commits may have taken the step all the same."""
        log.warning("journal not written at once", extra={"payment": entry.id, "reason": str(error)})
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailableError), wait=wait_exponential(0.2, max=_LONGEST_WAIT)
        )
        try:
            return await attempts(step, entry, state, **changes)
        except IllegalTransitionError as illegal:
            if illegal.origin is not state:
                raise
            return entry.transition(state, **changes)


def _asking(entry: Entry) -> dict[str, Any]:
    """The requirements with the amount that is due."""
    return {**entry.requirements, "amount": str(entry.amount)}
