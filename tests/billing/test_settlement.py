"""Settlements against a scripted facilitator and chain, up to their deadline and after it."""

import asyncio
import random
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from gateway.billing.facilitator import _CONNECTIONS
from gateway.billing.journal import Entry, State
from gateway.billing.outcome import Outcome, Refused, Settled, Unknown
from gateway.billing.settlement import _RETRIES_AT_ONCE
from gateway.billing.storage.sqlite_store import SqliteStore
from tests.billing.entries import FUNDED, entry
from tests.billing.scripted import Script, final, serving, settlements
from tests.clocks import Clock
from tests.waiting import until


async def test_the_amount_is_frozen_before_the_facilitator_hears_of_it(sqlite_store: SqliteStore, clock: Clock) -> None:
    script = Script(Settled("0xab"))
    payment = await serving(sqlite_store)
    ended = await settlements(sqlite_store, script, clock).settle(payment, amount=7)
    assert (ended.state, ended.amount, ended.settled_amount, ended.transaction) == (State.SETTLED, 7, 7, "0xab")
    assert script.asked == [7]
    assert ended.payment == payment.payment


async def test_two_settlements_of_one_payment_are_one(sqlite_store: SqliteStore, clock: Clock) -> None:
    script = Script(Settled("0xab"))
    payment = await serving(sqlite_store)
    service = settlements(sqlite_store, script, clock)
    outcomes = await asyncio.gather(
        service.settle(payment, amount=7), service.settle(payment, amount=8), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Entry", "IllegalTransitionError"]
    assert len(script.asked) == 1


async def test_unknown_until_the_deadline_is_unresolved_and_nobodys_debt(
    sqlite_store: SqliteStore, clock: Clock
) -> None:
    script = Script(Unknown("no answer"))
    payment = await serving(sqlite_store)
    service = settlements(sqlite_store, script, clock)
    clock.now = 990.0
    assert (await service.settle(payment, amount=7)).state is State.PENDING
    clock.now = 994.0
    await asyncio.sleep(0.1)
    sent = len(script.asked)
    assert sent > 1
    await asyncio.sleep(0.1)
    assert len(script.asked) <= sent + 1, "nothing is sent when the facilitator would refuse it for its deadline"
    clock.now = 1031.0
    await service.drain(5)
    assert (await final(sqlite_store, payment)).state is State.FAILED
    await sqlite_store.claim(entry(owner=sqlite_store.owner), FUNDED)


@pytest.mark.parametrize(
    ("now", "retry_after", "pause", "state"),
    [
        (600.0, 0.0, 0.1, State.SETTLED),
        (600.0, 1.5, 1.5, State.SETTLED),
        (600.0, 40.0, 40.0, State.PENDING),
        (980.0, 3600.0, 6.0, State.PENDING),
        (990.0, 3600.0, 0.1, State.SETTLED),
    ],
)
async def test_a_facilitator_s_retry_after_is_kept_as_far_as_the_deadline_allows(
    sqlite_store: SqliteStore,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    now: float,
    retry_after: float,
    pause: float,
    state: State,
) -> None:
    pauses, sleep = [], asyncio.sleep

    async def advance(seconds: float) -> None:
        pauses.append(seconds)
        clock.now += seconds
        await sleep(0.02)

    monkeypatch.setattr(random, "uniform", lambda _, longest: longest)
    script = Script(Unknown("settle returned 429", retry_after=retry_after), Settled("0xab"))
    payment = await serving(sqlite_store)
    service = settlements(sqlite_store, script, clock)
    clock.now = now
    monkeypatch.setattr(asyncio, "sleep", advance)
    assert (await service.settle(payment, amount=7)).state is state
    await service.drain(5)
    assert (pauses, len(script.asked)) == ([pause], 2)
    assert (await final(sqlite_store, payment)).state is State.SETTLED


@pytest.mark.parametrize(
    "later", [Refused("transaction_failed"), Unknown("no answer"), Refused("transaction_failed", transaction="0xcd")]
)
async def test_a_transaction_that_was_named_once_is_looked_for_to_the_end(
    sqlite_store: SqliteStore, clock: Clock, later: Refused | Unknown
) -> None:
    """It may still be mined, whatever is said of the payment when it is sent again."""

    judged: list[str] = []

    class Witness(Script):
        async def check(self, entry: Entry, outcome: Outcome, *, first: bool) -> Outcome:
            if not first:
                judged.append("" if isinstance(outcome, Settled) else outcome.transaction)
                clock.now = 2000.0
            return outcome

    payment = await serving(sqlite_store)
    service = settlements(sqlite_store, Witness(Unknown("settlement_pending", "0xab"), later), clock)
    await service.settle(payment, amount=7)
    await service.drain(5)
    assert judged == [later.transaction or "0xab"]


async def test_what_the_chain_shows_after_the_deadline_still_counts(sqlite_store: SqliteStore, clock: Clock) -> None:
    script = Script(Unknown("no answer"))
    payment = await serving(sqlite_store)
    service = settlements(sqlite_store, script, clock)
    clock.now = 1005.0
    assert (await service.settle(payment, amount=7)).state is State.PENDING
    script.seen = Settled("0xcd", 7)
    await service.drain(5)
    assert (await final(sqlite_store, payment)).state is State.SETTLED


async def test_a_payment_that_is_resumed_long_after_its_deadline_is_looked_for_once_more(
    sqlite_store: SqliteStore, clock: Clock
) -> None:
    script = Script(Unknown("no answer"))
    payment = await sqlite_store.move(await serving(sqlite_store), State.SETTLING, amount=7)
    service = settlements(sqlite_store, script, clock)
    clock.now = 90_000.0
    script.seen = Settled("0xcd", 7)
    service.resume(payment)
    await service.drain(5)
    assert (await final(sqlite_store, payment)).state is State.SETTLED
    assert script.asked == []


async def test_a_held_answer_goes_out_as_pending_and_is_settled_later(
    sqlite_store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, sent = asyncio.get_running_loop(), asyncio.Event()
    call_later, timers = loop.call_later, {}

    def remember(delay: float, callback: Callable[..., Any], *arguments: Any) -> asyncio.TimerHandle:
        timers[delay] = callback
        return call_later(delay, callback, *arguments)

    class Slow(Script):
        async def settle(self, *arguments: Any) -> Outcome:
            timers[30.0]()
            await sent.wait()
            return await super().settle(*arguments)

    payment = await serving(sqlite_store)
    monkeypatch.setattr(loop, "call_later", remember)
    service = settlements(sqlite_store, Slow(Settled("0xab")), clock, hold=30.0)
    assert (await service.settle(payment, amount=7)).state is State.PENDING
    assert (await final(sqlite_store, payment)).state is State.SETTLING
    sent.set()
    await service.drain(5)
    assert (await final(sqlite_store, payment)).state is State.SETTLED


async def test_a_queued_settlement_is_followed_not_sent_again(sqlite_store: SqliteStore, clock: Clock) -> None:
    script = Script(Unknown("queued", job="payment-1"), Unknown("queued", job="payment-1"), Settled("0xab"))
    payment = await serving(sqlite_store)
    service = settlements(sqlite_store, script, clock)
    await service.settle(payment, amount=7)
    await service.drain(5)
    assert (len(script.asked), script.followed) == (1, ["payment-1", "payment-1"])
    assert (await final(sqlite_store, payment)).state is State.SETTLED


@pytest.mark.parametrize(
    ("reason", "owes"),
    [
        ("permit2_insufficient_balance", True),
        ("permit2_allowance_required", True),
        ("invalid_exact_evm_nonce_already_used", True),
        ("permit2_invalid_nonce", True),
        ("nonce_spent_elsewhere", True),
        ("nonce too low, next nonce 5", False),
        ("transaction_failed", False),
        ("invalid_upto_evm_transaction_failed", False),
        ("unsupported_scheme", False),
    ],
)
async def test_only_what_a_payer_can_do_makes_it_owe(
    sqlite_store: SqliteStore, clock: Clock, caplog: pytest.LogCaptureFixture, reason: str, owes: bool
) -> None:
    payment = await serving(sqlite_store)
    ended = await settlements(sqlite_store, Script(Refused(reason, "why")), clock).settle(payment, amount=7)
    assert (ended.state, ended.payers_fault, ended.note) == (State.FAILED, owes, f"{reason}: why")
    assert [record.__dict__["reason"] for record in caplog.records] == [ended.note]


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_facilitator_client_that_fails_leaves_the_outcome_unknown(
    sqlite_store: SqliteStore, clock: Clock, failures: int
) -> None:
    """Also when it fails again: if the settlement ended there, its living worker's payment would be nobody's."""

    class Broken(Script):
        async def settle(self, *arguments: Any) -> Outcome:
            self.asked.append(7)
            if len(self.asked) <= failures:
                raise MemoryError
            return Settled("0xab")

    payment = await serving(sqlite_store)
    service = settlements(sqlite_store, Broken(Settled("")), clock)
    ended = await service.settle(payment, amount=7)
    assert ended.state is (State.SETTLED if failures == 1 else State.PENDING)
    await service.drain(5)
    assert (await final(sqlite_store, payment)).state is State.SETTLED


async def test_a_chain_client_that_fails_after_the_deadline_leaves_it_unresolved(
    sqlite_store: SqliteStore, clock: Clock
) -> None:
    class Broken(Script):
        async def look_up(self, entry: Entry) -> Outcome | None:
            raise MemoryError

    payment = await sqlite_store.move(await serving(sqlite_store), State.SETTLING, amount=7)
    service = settlements(sqlite_store, Broken(Unknown("no answer")), clock)
    clock.now = 90_000.0
    service.resume(payment)
    await service.drain(5)
    assert (await final(sqlite_store, payment)).state is State.FAILED


async def test_payments_that_failed_together_are_not_retried_in_step(
    sqlite_store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """x402's TypeScript facilitator gives transactions that it sends at the same time one nonce: all but one fail."""
    pauses, sleep = [], asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    script = Script(*[Unknown("nonce too low")] * 5, Settled("0xab"))
    payments = [await serving(sqlite_store, payer=secrets.token_bytes(20)) for _ in range(5)]
    service = settlements(sqlite_store, script, clock)
    monkeypatch.setattr(asyncio, "sleep", pause)
    await asyncio.gather(*(service.settle(payment, amount=7) for payment in payments))
    assert len(set(pauses)) == len(payments)
    assert all(0.05 <= pause <= 0.1 for pause in pauses)


@pytest.mark.parametrize("now", [0.0, 2000.0], ids=["before the deadline", "after it"])
async def test_thousands_of_pending_payments_leave_connections_for_new_ones(
    sqlite_store: SqliteStore, clock: Clock, now: float
) -> None:
    """Those that waited for one would run out of time as soon as they had been sent, and count as unresolved."""
    clock.now = now
    back, asked = asyncio.Event(), 0

    class Slow(Script):
        async def settle(self, *arguments: Any) -> Outcome:
            nonlocal asked
            asked += 1
            await back.wait()
            return Settled("0xab")

        async def look_up(self, entry: Entry) -> Outcome | None:
            return await self.settle() if now > entry.deadline else None

    payments = await asyncio.gather(*(serving(sqlite_store, payer=secrets.token_bytes(20)) for _ in range(300)))
    service = settlements(sqlite_store, Slow(Settled("")), clock)
    for payment in payments:
        service.resume(await sqlite_store.move(payment, State.SETTLING, amount=7))
    await until(lambda: asked == _RETRIES_AT_ONCE)
    await asyncio.sleep(0.05)
    assert asked == _RETRIES_AT_ONCE <= _CONNECTIONS // 2
    back.set()
    assert await service.drain(20) == 0
    assert asked == len(payments)
