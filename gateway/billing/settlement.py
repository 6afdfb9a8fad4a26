"""Settles each payment once, in a task that outlives its request, until the outcome is known or the deadline passes.

The amount is frozen in the journal before the settlement request is sent. An unknown outcome is reconciled, never
priced again (facts/x402.md 1.10.10, 4 rows 6, 7): the chain is queried, and the identical settlement is retried.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from gateway.billing.definitions import Definitions
from gateway.billing.facilitator import Facilitator
from gateway.billing.journal import Entry, State, TransferAlreadyMatchedError
from gateway.billing.outcome import Outcome, Refused, Settled, Unknown
from gateway.billing.payment_metrics import PaymentMetrics
from gateway.billing.reconciliation import CONTRACT_REFUSED, NONCE_SPENT, Reconciler
from gateway.billing.storage import retried_writes
from gateway.billing.storage.store import Store, StoreUnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_BACKOFF = 1.0
_MAX_BACKOFF = 30.0
_GRACE_SECONDS = 30.0
_RETRIES_AT_ONCE = 128
"""Half of the facilitator's connections. When it is back, thousands of payments may be pending: all at once they would
delay the verification of new ones, and be given up in the middle of a settlement after waiting for a connection."""
_PAYER_FAULT_REASONS = (
    "insufficient_balance",
    "insufficient_funds",
    "allowance",
    "nonce_already_used",
    "invalid_nonce",
    NONCE_SPENT,
    CONTRACT_REFUSED,
)
"""Substrings of x402 reason codes. The nonces of the facilitator's own gas account are not among them."""


class _Settlement:
    """One settlement in progress. ``waiter`` resolves to its final entry or to PENDING; None if nobody waits.

    ``unawaited`` is True once nobody waits for the final entry. ``started`` is on the monotonic clock, None for a
    settlement that another worker started.
    """

    __slots__ = ("entry", "started", "unawaited", "waiter")

    def __init__(self, waiter: asyncio.Future[Entry] | None = None, started: float | None = None) -> None:
        self.started = started
        self.waiter = waiter
        self.entry: Entry | None = None
        self.unawaited = waiter is None

    def resolve(self, entry: Entry) -> None:
        waiter = self.waiter
        if waiter is None or (waiter.done() and not waiter.cancelled()):
            return
        self.unawaited = entry.state is State.PENDING
        if not waiter.done():
            waiter.set_result(entry)

    def fail(self, error: Exception) -> None:
        self.unawaited = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(error)

    def time_out(self) -> None:
        """Resolve the waiter as PENDING, or fail it if the settlement is not in the journal yet."""
        if self.entry is None:
            self.fail(StoreUnavailableError("the journal does not respond"))
        else:
            self.resolve(msgspec.structs.replace(self.entry, state=State.PENDING))


class Settlements:
    """All settlements of this process. ``clock`` is Unix time."""

    def __init__(
        self,
        store: Store,
        facilitator: Facilitator,
        reconciler: Reconciler,
        definitions: Definitions,
        clock: Callable[[], float],
        metrics: PaymentMetrics,
    ) -> None:
        self._store = store
        self._facilitator = facilitator
        self._reconciler = reconciler
        self._times = definitions.settlement
        self._clock = clock
        self._metrics = metrics
        self._tasks: set[asyncio.Task[Any]] = set()
        self._retries = asyncio.Semaphore(_RETRIES_AT_ONCE)
        self.on_end: list[Callable[[Entry], None]] = []
        """Callbacks that get the final entry of every settlement."""

    async def settle(self, payment: Entry, **fields: Any) -> Entry:
        """Move a payment to SETTLING with ``fields`` and settle it; return its final entry, or the PENDING one.

        Returns after ``hold_seconds`` at the latest. The settlement continues in the background after that, and when
        the caller is cancelled. Raises StoreUnavailableError if the move could not be written by then: nothing is
        settled.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Entry] = loop.create_future()
        settlement = _Settlement(waiter, time.monotonic())
        self.detach(self._start(settlement, payment, fields))
        timeout = loop.call_later(self._times.hold_seconds, settlement.time_out)
        try:
            return await waiter
        finally:
            timeout.cancel()

    def resume(self, entry: Entry) -> None:
        """Continue a SETTLING or PENDING payment of a worker that is gone."""
        self.detach(self._finish(_Settlement(), entry, Unknown("its worker was lost", entry.transaction, entry.job)))

    @property
    def task_count(self) -> int:
        """The number of detached tasks that are running."""
        return len(self._tasks)

    def detach(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` in a task that no request owns; ``drain`` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a detached task failed", exc_info=error)

    async def drain(self, seconds: float) -> int:
        """Wait for the detached tasks; return how many had to be cancelled, for the next worker to resume."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)

    async def _start(self, settlement: _Settlement, payment: Entry, fields: dict[str, Any]) -> None:
        try:
            settlement.entry = entry = await retried_writes.write(self._store.move, payment, State.SETTLING, **fields)
        except Exception as error:
            settlement.fail(error)
            return
        if settlement.unawaited:
            await self._finish(settlement, entry, Refused("journal_too_slow", "its answer was withheld meanwhile"))
            return
        try:
            outcome = await self._facilitator.settle(entry.payment, entry.amount, entry.usage)
            outcome = await self._reconciler.check(entry, outcome, first=True)
        except Exception:
            log.exception("settlement", extra={"payment": entry.id})
            outcome = Unknown("the gateway failed while settling")
        await self._finish(settlement, entry, outcome)

    async def _finish(self, settlement: _Settlement, entry: Entry, outcome: Outcome) -> None:
        """Write the outcome to the journal, an unknown one once it is reconciled."""
        if isinstance(outcome, Unknown):
            entry, outcome = await self._reconcile(settlement, entry, outcome)
        before, entry = entry, await self._record_outcome(entry, outcome)
        seconds = None if settlement.started is None else time.monotonic() - settlement.started
        self._metrics.ended(before, entry, seconds)
        for callback in self.on_end:
            callback(entry)
        if settlement.unawaited and entry.unserved:
            state, changes = entry.uncharged_end("it was paid too late")
            entry = await retried_writes.write(self._store.move, entry, state, **changes)
        settlement.resolve(entry)

    async def _reconcile(self, settlement: _Settlement, entry: Entry, unknown: Unknown) -> tuple[Entry, Outcome]:
        """Retry until the outcome is known or can no longer change. The waiter gets the PENDING entry meanwhile.

        The pauses are random, since payments that failed because they were sent at once would fail again in step.
        """
        backoff = 0.0 if settlement.unawaited else _FIRST_BACKOFF
        while self._clock() < entry.deadline + _GRACE_SECONDS:
            pause = max(random.uniform(backoff / 2, backoff), self._requested_pause(entry, unknown))  # noqa: S311
            if pause > self._times.hold_seconds:
                entry = await self._record_pending(settlement, entry, unknown)
            await asyncio.sleep(pause)
            async with self._retries:
                outcome = await self._or_failed(entry, self._retry(entry, unknown), unknown)
            if not isinstance(outcome, Unknown):
                return entry, outcome
            unknown = outcome
            entry = await self._record_pending(settlement, entry, unknown)
            backoff = min(max(backoff * 1.5, self._times.retry_seconds), _MAX_BACKOFF)
        async with self._retries:
            return entry, await self._or_failed(entry, self._reconciler.look_up(entry), None) or unknown

    async def _or_failed(self, entry: Entry, work: Awaitable[T], failed: T) -> T:
        """The result of ``work``, or ``failed`` after an error of this process, which is logged.

        Such an error leaves the outcome unknown. If it ended the settlement, nobody would take it up again: its worker
        is alive.
        """
        try:
            return await work
        except Exception:
            log.exception("settlement", extra={"payment": entry.id})
            return failed

    def _requested_pause(self, entry: Entry, unknown: Unknown) -> float:
        """The facilitator's Retry-After, as far as it leaves time for one more attempt before the deadline."""
        last_attempt = entry.deadline - 2 * self._times.give_up_before_deadline_seconds
        return min(unknown.retry_after, last_attempt - self._clock())

    async def _retry(self, entry: Entry, unknown: Unknown) -> Outcome:
        """Query the chain, then the queued job, or else repeat the identical settlement while the deadline allows."""
        if (found := await self._reconciler.look_up(entry)) is not None:
            return found
        if unknown.job:
            outcome = await self._facilitator.poll_job(unknown.job, entry.network)
        elif self._clock() < entry.deadline - self._times.give_up_before_deadline_seconds:
            outcome = await self._facilitator.settle(entry.payment, entry.amount, entry.usage)
        else:
            return unknown
        return await self._reconciler.check(entry, _naming(outcome, unknown.transaction), first=False)

    async def _record_pending(self, settlement: _Settlement, entry: Entry, unknown: Unknown) -> Entry:
        """The PENDING entry, written once; the waiter gets it."""
        if entry.state is State.PENDING:
            pending = msgspec.structs.replace(entry, transaction=unknown.transaction, job=unknown.job)
        else:
            self._metrics.became_pending()
            log.warning("settlement pending", extra={"payment": entry.id, "reason": unknown.reason})
            pending = await retried_writes.write(
                self._store.move,
                entry,
                State.PENDING,
                transaction=unknown.transaction,
                job=unknown.job,
                note=unknown.reason,
            )
        settlement.resolve(pending)
        return pending

    async def _record_outcome(self, entry: Entry, outcome: Outcome) -> Entry:
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
                return await retried_writes.write(step, entry, State.SETTLED, **changes)
            case Refused(reason, message, transaction):
                told = f"{reason}: {message}" if message else reason
                log.error("settlement refused", extra={"payment": entry.id, "reason": told})
                fault = any(word in reason for word in _PAYER_FAULT_REASONS)
                changes = {"transaction": transaction, "note": told[:300], "payers_fault": fault, "job": ""}
                return await retried_writes.write(self._store.move, entry, State.FAILED, **changes)
            case Unknown(reason):
                log.error("settlement unresolved at its deadline", extra={"payment": entry.id, "reason": reason})
                return await retried_writes.write(self._store.move, entry, State.FAILED, note=f"unresolved: {reason}")

    async def _record_reconciled(self, entry: Entry, matches: int, changes: dict[str, Any]) -> Entry:
        """Settle by a transfer that no other payment has matched: one call can carry several payments' messages."""

        async def settle(payment: Entry, _: State, **changes: Any) -> Entry:
            return await self._store.reconcile(payment, matches=matches, **changes)

        try:
            return await retried_writes.write(settle, entry, State.SETTLED, **changes)
        except TransferAlreadyMatchedError:
            return await self._record_outcome(entry, Refused(NONCE_SPENT, "what was paid was another payment"))


def _naming(outcome: Outcome, transaction: str) -> Outcome:
    """The outcome with the transaction that an earlier response named, unless it names one: that may still be mined."""
    if isinstance(outcome, Settled) or outcome.transaction:
        return outcome
    return replace(outcome, transaction=transaction)
