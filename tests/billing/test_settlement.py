"""Settlements against a scripted facilitator and chain: close to a deadline, and with a journal that fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tenacity import wait_none

from gateway.billing.claims import ClaimPolicy
from gateway.billing.definitions import bundled
from gateway.billing.journal import Entry, IllegalTransitionError, State
from gateway.billing.outcome import Outcome, Refused, Settled, Unknown
from gateway.billing.settlement import Settlements
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import StoreUnavailableError
from tests.billing.entries import entry
from tests.billing.harness import quick

POLICY = ClaimPolicy(bundled().exposure, funds_known=True)


class Script:
    """Facilitator and evidence in one: ``answers`` in turn, the last for ever; ``seen`` is the chain's word."""

    def __init__(self, *answers: Outcome) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.followed: list[str] = []
        self.seen: Outcome | None = None

    async def settle(self, payment: dict[str, Any], requirements: dict[str, Any], usage: dict[str, Any]) -> Outcome:
        self.asked.append(requirements)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def poll_job(self, job: str, requirements: dict[str, Any]) -> Outcome:
        self.followed.append(job)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def check(self, entry: Entry, outcome: Outcome, *, first: bool) -> Outcome:
        return outcome

    async def look_up(self, entry: Entry) -> Outcome | None:
        return self.seen


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "journal.db")
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settlements(store: SqliteStore, script: Any, clock: Clock, hold: float = 2.0) -> Settlements:
    return Settlements(store, script, script, quick(settlement={"hold_seconds": hold, "retry_seconds": 0.01}), clock)


async def serving(store: SqliteStore, **changes: Any) -> Entry:
    payment = entry(owner=store.owner, deadline=1000, **changes)
    await store.claim(payment, POLICY)
    return await store.move(payment, State.VERIFIED, State.SERVING)


async def final(store: SqliteStore, payment: Entry) -> Entry:
    """The entry as it ended: an end leads nowhere."""
    with pytest.raises(IllegalTransitionError) as refused:
        await store.move(payment, State.RESERVED)
    return msgspec.structs.replace(entry(), state=refused.value.origin)


async def test_the_amount_is_frozen_before_the_facilitator_hears_of_it(store: SqliteStore, clock: Clock) -> None:
    script = Script(Settled("0xab"))
    payment = await serving(store, requirements={"amount": "10", "payTo": "0x" + "11" * 20})
    ended = await settlements(store, script, clock).settle(payment, amount=7)
    assert (ended.state, ended.amount, ended.settled_amount, ended.transaction) == (State.SETTLED, 7, 7, "0xab")
    assert [asked["amount"] for asked in script.asked] == ["7"]
    assert ended.requirements["amount"] == "10"


async def test_two_settlements_of_one_payment_are_one(store: SqliteStore, clock: Clock) -> None:
    script = Script(Settled("0xab"))
    payment = await serving(store)
    service = settlements(store, script, clock)
    outcomes = await asyncio.gather(
        service.settle(payment, amount=7), service.settle(payment, amount=8), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Entry", "IllegalTransitionError"]
    assert len(script.asked) == 1


async def test_unknown_until_the_deadline_is_unresolved_and_nobodys_debt(store: SqliteStore, clock: Clock) -> None:
    script = Script(Unknown("no answer"))
    payment = await serving(store)
    service = settlements(store, script, clock)
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
    assert (await final(store, payment)).state is State.FAILED
    await store.claim(entry(owner=store.owner), POLICY)


@pytest.mark.parametrize(
    ("now", "retry_after", "pause", "state"),
    [
        (600.0, 0.0, 1.0, State.SETTLED),
        (600.0, 1.5, 1.5, State.SETTLED),
        (600.0, 40.0, 40.0, State.PENDING),
        (980.0, 3600.0, 6.0, State.PENDING),
        (990.0, 3600.0, 1.0, State.SETTLED),
    ],
)
async def test_a_facilitator_s_retry_after_is_kept_as_far_as_the_deadline_allows(
    store: SqliteStore,
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

    script = Script(Unknown("settle returned 429", retry_after=retry_after), Settled("0xab"))
    payment = await serving(store)
    service = settlements(store, script, clock)
    clock.now = now
    monkeypatch.setattr(asyncio, "sleep", advance)
    assert (await service.settle(payment, amount=7)).state is state
    await service.drain(5)
    assert (pauses, len(script.asked)) == ([pause], 2)
    assert (await final(store, payment)).state is State.SETTLED


async def test_what_the_chain_shows_after_the_deadline_still_counts(store: SqliteStore, clock: Clock) -> None:
    script = Script(Unknown("no answer"))
    payment = await serving(store)
    service = settlements(store, script, clock)
    clock.now = 1005.0
    assert (await service.settle(payment, amount=7)).state is State.PENDING
    script.seen = Settled("0xcd", 7)
    await service.drain(5)
    assert (await final(store, payment)).state is State.SETTLED


async def test_a_payment_that_is_resumed_long_after_its_deadline_is_looked_for_once_more(
    store: SqliteStore, clock: Clock
) -> None:
    script = Script(Unknown("no answer"))
    payment = await store.move(await serving(store), State.SETTLING, amount=7)
    service = settlements(store, script, clock)
    clock.now = 90_000.0
    script.seen = Settled("0xcd", 7)
    service.resume(payment)
    await service.drain(5)
    assert (await final(store, payment)).state is State.SETTLED
    assert script.asked == []


async def test_a_held_answer_goes_out_as_pending_and_is_settled_later(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
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

    payment = await serving(store)
    monkeypatch.setattr(loop, "call_later", remember)
    service = settlements(store, Slow(Settled("0xab")), clock, hold=30.0)
    assert (await service.settle(payment, amount=7)).state is State.PENDING
    assert (await final(store, payment)).state is State.SETTLING
    sent.set()
    await service.drain(5)
    assert (await final(store, payment)).state is State.SETTLED


async def test_a_queued_settlement_is_followed_not_sent_again(store: SqliteStore, clock: Clock) -> None:
    script = Script(Unknown("queued", job="payment-1"), Unknown("queued", job="payment-1"), Settled("0xab"))
    payment = await serving(store)
    service = settlements(store, script, clock)
    await service.settle(payment, amount=7)
    await service.drain(5)
    assert (len(script.asked), script.followed) == (1, ["payment-1", "payment-1"])
    assert (await final(store, payment)).state is State.SETTLED


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
async def test_only_what_a_payer_can_do_makes_it_owe(store: SqliteStore, clock: Clock, reason: str, owes: bool) -> None:
    payment = await serving(store)
    ended = await settlements(store, Script(Refused(reason, "why")), clock).settle(payment, amount=7)
    assert (ended.state, ended.payers_fault, ended.note) == (State.FAILED, owes, f"{reason}: why")


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_facilitator_client_that_fails_leaves_the_outcome_unknown(
    store: SqliteStore, clock: Clock, failures: int
) -> None:
    """Also when it fails again: the settlement once ended there, and its living worker's payment was nobody's."""

    class Broken(Script):
        async def settle(self, *arguments: Any) -> Outcome:
            self.asked.append({})
            if len(self.asked) <= failures:
                raise MemoryError
            return Settled("0xab")

    payment = await serving(store)
    service = settlements(store, Broken(Settled("")), clock)
    ended = await service.settle(payment, amount=7)
    assert ended.state is (State.SETTLED if failures == 1 else State.PENDING)
    await service.drain(5)
    assert (await final(store, payment)).state is State.SETTLED


async def test_a_chain_client_that_fails_after_the_deadline_leaves_it_unresolved(
    store: SqliteStore, clock: Clock
) -> None:
    class Broken(Script):
        async def look_up(self, entry: Entry) -> Outcome | None:
            raise MemoryError

    payment = await store.move(await serving(store), State.SETTLING, amount=7)
    service = settlements(store, Broken(Unknown("no answer")), clock)
    clock.now = 90_000.0
    service.resume(payment)
    await service.drain(5)
    assert (await final(store, payment)).state is State.FAILED


async def test_without_a_journal_no_settlement_begins(store: SqliteStore, clock: Clock) -> None:
    script = Script(Settled("0xab"))
    payment = await serving(store)
    service = settlements(store, script, clock)
    await store.close()
    with pytest.raises(StoreUnavailableError):
        await service.settle(payment, amount=7)
    assert script.asked == []


@pytest.mark.parametrize("upfront", [False, True])
async def test_an_end_that_is_not_written_at_once_is_written_again(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, upfront: bool
) -> None:
    """As with a database that is away for a moment: what was charged must not stay SETTLING."""
    payment = await serving(store, upfront=upfront)
    refusals = [StoreUnavailableError("away"), StoreUnavailableError("away")]

    def unwilling(step: Callable[..., Awaitable[Entry]]) -> Callable[..., Awaitable[Entry]]:
        async def refuse(known: Entry, *to: State, **changes: Any) -> Entry:
            if State.SETTLED in to and refusals:
                raise refusals.pop()
            return await step(known, *to, **changes)

        return refuse

    monkeypatch.setattr(store, "move", unwilling(store.move))
    monkeypatch.setattr(store, "defer_move", unwilling(store.defer_move))
    ended = await settlements(store, Script(Settled("0xab")), clock).settle(payment, amount=7)
    assert (ended.state, ended.settled_amount, refusals) == (State.SETTLED, 7, [])
    assert (await final(store, payment)).state is State.SETTLED


async def test_an_end_is_written_however_long_the_journal_is_away(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else looks after the payment of a worker that lives."""
    payment = await serving(store)
    refusals = [StoreUnavailableError("away")] * 50
    move = store.move

    async def refuse(known: Entry, *to: State, **changes: Any) -> Entry:
        if State.PENDING in to and refusals:
            raise refusals.pop()
        return await move(known, *to, **changes)

    monkeypatch.setattr(store, "move", refuse)
    monkeypatch.setattr("gateway.billing.settlement.wait_exponential", lambda *_, **__: wait_none())
    service = settlements(store, Script(Unknown("no answer"), Unknown("no answer"), Settled("0xab")), clock)
    await service.settle(payment, amount=7)
    await service.drain(5)
    assert refusals == []
    assert (await final(store, payment)).state is State.SETTLED


async def test_an_end_that_was_written_by_a_journal_that_could_not_say_so_is_taken_for_written(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a database whose connection breaks while it commits."""
    payment = await serving(store, upfront=True)
    told: list[State] = []
    move = store.move

    async def lose(known: Entry, *to: State, **changes: Any) -> Entry:
        moved = await move(known, *to, **changes)
        if State.SETTLED in to:
            told.append(moved.state)
            raise StoreUnavailableError("lost while it committed")
        return moved

    monkeypatch.setattr(store, "move", lose)
    ended = await settlements(store, Script(Settled("0xab")), clock).settle(payment, amount=7)
    assert (ended.state, ended.settled_amount, told) == (State.SETTLED, 7, [State.SETTLED])


@pytest.mark.parametrize("taken", [False, True])
async def test_nothing_is_charged_where_the_journal_was_lost_as_it_was_to_begin(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """Whether it took the step or not: the next worker would settle what is left SETTLING."""
    script, payment, move = Script(Settled("0xab")), await serving(store), store.move
    refusals = [StoreUnavailableError("lost")]

    async def lose(known: Entry, *to: State, **changes: Any) -> Entry:
        if refusals and taken:
            await move(known, *to, **changes)
        if refusals:
            raise refusals.pop()
        return await move(known, *to, **changes)

    monkeypatch.setattr(store, "move", lose)
    service = settlements(store, script, clock)
    with pytest.raises(StoreUnavailableError):
        await service.settle(payment, amount=7)
    await service.drain(5)
    assert script.asked == []
    ended = await final(store, payment)
    assert (ended.state, ended.payers_fault) == (State.FAILED, False)


@pytest.mark.parametrize("upfront", [False, True])
async def test_nothing_is_charged_once_an_answer_was_withheld_for_its_journal(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, upfront: bool
) -> None:
    script = Script(Settled("0xab"))
    payment = await serving(store, upfront=upfront)
    move, slow = store.move, asyncio.Event()

    async def wait(known: Entry, *to: State, **changes: Any) -> Entry:
        if State.SETTLING in to:
            await slow.wait()
        return await move(known, *to, **changes)

    monkeypatch.setattr(store, "move", wait)
    service = settlements(store, script, clock, hold=0.05)
    with pytest.raises(StoreUnavailableError):
        await service.settle(payment, amount=7)
    slow.set()
    await service.drain(5)
    assert script.asked == []
    ended = await final(store, payment)
    assert (ended.state, ended.payers_fault) == (State.FAILED, False)
    assert await store.take_credit(payment) is None


async def test_what_drain_does_not_wait_for_is_left_in_the_journal(
    store: SqliteStore, clock: Clock, tmp_path: Path
) -> None:
    payment = await serving(store)
    service = settlements(store, Script(Unknown("no answer")), clock)
    assert (await service.settle(payment, amount=7)).state is State.PENDING
    assert await service.drain(0.05) == 1
    await store.close()
    successor = await SqliteStore.open(tmp_path / "journal.db")
    adopted = await successor.adopt(0.0)
    assert [(each.key, each.state, each.amount) for each in adopted] == [(payment.key, State.PENDING, 7)]
    resumed = settlements(successor, Script(Settled("0xab")), clock)
    resumed.resume(adopted[0])
    await resumed.drain(5)
    assert (await final(successor, payment)).state is State.SETTLED
    await successor.close()
