"""Credit for what was paid upfront and bought nothing, in both stores."""

import asyncio

import pytest

from gateway.billing.journal import Entry, IllegalTransitionError, State
from gateway.billing.storage.store import Store
from tests.billing.entries import POLICY, entry, owned_by


async def credited(store: Store, amount: int) -> Entry:
    """A payment that was made upfront and bought nothing."""
    payment = owned_by(store, entry(cap=amount, upfront=True))
    await store.claim(payment, POLICY)
    settling = await store.move(payment, State.SETTLING, amount=amount)
    settled = await store.move(settling, State.SETTLED)
    return await store.move(settled, State.SERVED, credited=amount)


async def test_credit_is_exact_and_used_up_once(store: Store, twin: Store) -> None:
    await credited(store, 2**80)
    takers = [entry(cap=2**79) for _ in range(6)]
    taken = await asyncio.gather(*(each.take_credit(one) for each, one in zip([store, twin] * 3, takers, strict=True)))
    assert [one.by_credit for one in taken if one is not None] == [True, True]
    assert await store.take_credit(entry(cap=1)) is None


async def test_credit_is_of_one_payer_and_asset(store: Store) -> None:
    await credited(store, 7)
    assert await store.take_credit(entry(cap=7, payer=b"\xcc" * 20)) is None
    assert await store.take_credit(entry(cap=7, asset="eip155:8453/0xusdc")) is None
    assert await store.take_credit(entry(cap=7)) is not None


async def test_credit_is_given_once_however_often_its_move_is_tried(store: Store) -> None:
    payment = await credited(store, 7)
    with pytest.raises(IllegalTransitionError):
        await store.move(payment, State.SERVED, credited=7)
    assert await store.take_credit(entry(cap=8)) is None


async def test_credit_that_was_taken_comes_back_with_the_end_of_its_payment(store: Store) -> None:
    await credited(store, 7)
    payment = owned_by(store, entry(cap=7, upfront=True))
    await store.claim(payment, POLICY)
    taken = await store.take_credit(payment)
    assert taken is not None
    assert await store.take_credit(entry(cap=1)) is None
    assert (await store.move(taken, State.RELEASED, credited=7)).by_credit
    await store.claim(payment, POLICY)
    assert await store.take_credit(payment) == taken


async def test_restored_payments_bring_what_they_left_of_credit(store: Store) -> None:
    source, taker = entry(state=State.SERVED, cap=9, credited=9), entry(state=State.WAIVED, cap=2, by_credit=True)
    for _ in range(2):
        await store.restore([source, taker])
    assert await store.take_credit(entry(cap=8)) is None
    assert await store.take_credit(entry(cap=7)) is not None
    await store.restore([entry(state=State.WAIVED, cap=2, by_credit=True)])
    await credited(store, 2)
    assert await store.take_credit(entry(cap=2)) is not None
