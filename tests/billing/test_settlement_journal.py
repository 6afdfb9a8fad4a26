"""Settlements with a journal that fails, and those that are left to the next worker."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from gateway.billing.journal import Entry, State
from gateway.billing.outcome import Settled, Unknown
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import StoreUnavailableError
from tests.billing.scripted import Script, final, serving, settlements
from tests.clocks import Clock


async def test_without_a_journal_no_settlement_begins(sqlite_store: SqliteStore, clock: Clock) -> None:
    script = Script(Settled("0xab"))
    payment = await serving(sqlite_store)
    service = settlements(sqlite_store, script, clock)
    await sqlite_store.close()
    with pytest.raises(StoreUnavailableError):
        await service.settle(payment, amount=7)
    await service.drain(0)
    assert script.asked == []


@pytest.mark.parametrize("upfront", [False, True])
async def test_an_end_that_is_not_written_at_once_is_written_again(
    sqlite_store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, upfront: bool
) -> None:
    """As with a database that is away for a moment: what was charged must not stay SETTLING."""
    payment = await serving(sqlite_store, upfront=upfront)
    refusals = [StoreUnavailableError("away"), StoreUnavailableError("away")]

    def unwilling(step: Callable[..., Awaitable[Entry]]) -> Callable[..., Awaitable[Entry]]:
        async def refuse(known: Entry, *to: State, **changes: Any) -> Entry:
            if State.SETTLED in to and refusals:
                raise refusals.pop()
            return await step(known, *to, **changes)

        return refuse

    monkeypatch.setattr(sqlite_store, "move", unwilling(sqlite_store.move))
    monkeypatch.setattr(sqlite_store, "defer_move", unwilling(sqlite_store.defer_move))
    ended = await settlements(sqlite_store, Script(Settled("0xab")), clock).settle(payment, amount=7)
    assert (ended.state, ended.settled_amount, refusals) == (State.SETTLED, 7, [])
    assert (await final(sqlite_store, payment)).state is State.SETTLED


async def test_an_end_is_written_however_long_the_journal_is_away(
    sqlite_store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else looks after the payment of a worker that lives."""
    payment = await serving(sqlite_store)
    refusals = [StoreUnavailableError("away")] * 50
    move = sqlite_store.move

    async def refuse(known: Entry, *to: State, **changes: Any) -> Entry:
        if State.PENDING in to and refusals:
            raise refusals.pop()
        return await move(known, *to, **changes)

    monkeypatch.setattr(sqlite_store, "move", refuse)
    monkeypatch.setattr("gateway.billing.storage.retried_writes.wait_exponential", lambda *_, **__: wait_none())
    service = settlements(sqlite_store, Script(Unknown("no answer"), Unknown("no answer"), Settled("0xab")), clock)
    await service.settle(payment, amount=7)
    await service.drain(5)
    assert refusals == []
    assert (await final(sqlite_store, payment)).state is State.SETTLED


async def test_an_end_that_was_written_by_a_journal_that_could_not_say_so_is_taken_for_written(
    sqlite_store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a database whose connection breaks while it commits."""
    payment = await serving(sqlite_store, upfront=True)
    told: list[State] = []
    move = sqlite_store.move

    async def lose(known: Entry, *to: State, **changes: Any) -> Entry:
        moved = await move(known, *to, **changes)
        if State.SETTLED in to:
            told.append(moved.state)
            raise StoreUnavailableError("lost while it committed")
        return moved

    monkeypatch.setattr(sqlite_store, "move", lose)
    ended = await settlements(sqlite_store, Script(Settled("0xab")), clock).settle(payment, amount=7)
    assert (ended.state, ended.settled_amount, told) == (State.SETTLED, 7, [State.SETTLED])


@pytest.mark.parametrize("taken", [False, True])
async def test_a_settlement_begins_once_a_journal_that_was_lost_is_back(
    sqlite_store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """Whether it took the step or not: a moment's outage is no reason to withhold an answer, or give a stream away."""
    script, payment, move = Script(Settled("0xab")), await serving(sqlite_store), sqlite_store.move
    refusals = [StoreUnavailableError("lost")]

    async def lose(known: Entry, *to: State, **changes: Any) -> Entry:
        if refusals and taken:
            await move(known, *to, **changes)
        if refusals:
            raise refusals.pop()
        return await move(known, *to, **changes)

    monkeypatch.setattr(sqlite_store, "move", lose)
    ended = await settlements(sqlite_store, script, clock).settle(payment, amount=7)
    assert (ended.state, ended.settled_amount) == (State.SETTLED, 7)
    assert script.asked == [7]
    assert (await final(sqlite_store, payment)).state is State.SETTLED


@pytest.mark.parametrize("upfront", [False, True])
@pytest.mark.parametrize("hangs", [False, True])
async def test_nothing_is_charged_once_an_answer_was_withheld_for_its_journal(
    sqlite_store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, upfront: bool, hangs: bool
) -> None:
    script = Script(Settled("0xab"))
    payment = await serving(sqlite_store, upfront=upfront)
    move, slow = sqlite_store.move, asyncio.Event()

    async def wait(known: Entry, *to: State, **changes: Any) -> Entry:
        if State.SETTLING in to and hangs:
            await slow.wait()
        if State.SETTLING in to and not slow.is_set():
            raise StoreUnavailableError("away")
        return await move(known, *to, **changes)

    monkeypatch.setattr(sqlite_store, "move", wait)
    service = settlements(sqlite_store, script, clock, hold=0.05)
    with pytest.raises(StoreUnavailableError):
        await service.settle(payment, amount=7)
    slow.set()
    await service.drain(5)
    assert script.asked == []
    ended = await final(sqlite_store, payment)
    assert (ended.state, ended.payers_fault) == (State.FAILED, False)
    assert await sqlite_store.take_credit(payment) is None


async def test_what_drain_does_not_wait_for_is_left_in_the_journal(
    sqlite_store: SqliteStore, clock: Clock, tmp_path: Path
) -> None:
    payment = await serving(sqlite_store)
    service = settlements(sqlite_store, Script(Unknown("no answer")), clock)
    assert (await service.settle(payment, amount=7)).state is State.PENDING
    assert await service.drain(0.05) == 1
    await sqlite_store.close()
    successor = await SqliteStore.open(tmp_path / "journal.db")
    adopted = await successor.adopt(0.0)
    assert [(each.key, each.state, each.amount) for each in adopted] == [(payment.key, State.PENDING, 7)]
    resumed = settlements(successor, Script(Settled("0xab")), clock)
    resumed.resume(adopted[0])
    await resumed.drain(5)
    assert (await final(successor, payment)).state is State.SETTLED
    await successor.close()
