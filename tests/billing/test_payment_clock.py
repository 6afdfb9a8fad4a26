"""Deadlines are held against the clock that billing is handed, not against a system clock that nobody disciplines."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.billing.harness import DEFINITIONS, DOLLAR, BillingHarness, bill, open_harness, order, quick, refusal
from tests.clocks import UnixClock
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain


@pytest.fixture
def clock() -> UnixClock:
    return UnixClock()


@pytest.fixture
async def timed(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, clock: UnixClock
) -> AsyncIterator[BillingHarness]:
    async with open_harness(chain, facilitator, journal, clock=clock) as opened:
        yield opened


async def test_the_time_left_is_the_clock_s(chain: LocalChain, timed: BillingHarness, clock: UnixClock) -> None:
    payment = await timed.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())
    before = payment.timeout
    clock.ahead = 200
    after = payment.timeout
    assert before is not None
    assert after is not None
    assert before - after == pytest.approx(200, abs=5)
    clock.ahead = 0
    await payment.release("tested")


@pytest.mark.parametrize(("behind", "seconds"), [(600, True), (-200, False)])
async def test_deadlines_are_the_chain_s_where_its_time_is_later(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, clock: UnixClock, behind: int, seconds: bool
) -> None:
    """A clock that lags would take what the chain does not take any more; one that is ahead of a block may be right."""
    clock.ahead = -behind
    async with open_harness(chain, facilitator, journal, clock=clock) as billing:
        wallet = await chain.wallet(usdc=DOLLAR, approve=True)
        payment = await billing.admit(wallet, order())
        left = payment.timeout
        assert left is not None
        margin = DEFINITIONS.deadlines.settle_margin_seconds
        own_time_left = DEFINITIONS.quotes.max_timeout_seconds + behind - margin
        assert (own_time_left - left == pytest.approx(behind, abs=60)) is seconds
        await payment.release("tested")


async def test_a_quote_that_is_past_by_the_clock_is_refused(
    chain: LocalChain, timed: BillingHarness, clock: UnixClock
) -> None:
    paid = await timed.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    clock.ahead = 700
    error = await refusal(timed.payments, paid)
    assert (error.status, error.code) == (402, "quote_expired"), error.message
    clock.ahead = 0
    payment = await timed.payments.admit(paid)
    await payment.release("tested")


async def test_a_deadline_that_leaves_no_time_is_refused(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, clock: UnixClock
) -> None:
    async with open_harness(
        chain, facilitator, journal, clock=clock, definitions=quick(quotes={"max_timeout_seconds": 120})
    ) as billing:
        wallet = await chain.wallet(usdc=DOLLAR, approve=True)
        in_time, late = await billing.pay(wallet, order()), await billing.pay(wallet, order())
        payment = await billing.payments.admit(in_time)
        assert payment.timeout is not None
        assert payment.timeout <= 60, "the answer ends while it can still be settled"
        clock.ahead = 60
        error = await refusal(billing.payments, late)
        assert (error.status, error.code) == (402, "permit2_deadline_expired")
        clock.ahead = 0
        await payment.settle(bill())
