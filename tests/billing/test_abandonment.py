"""A payer that keeps leaving before it is charged is limited (facts/x402.md 4 row 5)."""

from decimal import Decimal
from pathlib import Path

import pytest

from gateway.billing.abandonment import AbandonedAnswers
from gateway.billing.definitions import Exposure
from tests.billing.harness import (
    DOLLAR,
    BillingHarness,
    bill,
    open_harness,
    order,
    payload_of,
    quick,
    refusal,
    with_payment,
)
from tests.clocks import Clock, UnixClock
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain

PAYER, OTHER = b"\x01" * 20, b"\x02" * 20
NOTHING = Decimal(0)
EXPOSURE = Exposure(
    newcomer_usd=Decimal(2),
    growth=Decimal(2),
    ceiling_usd=Decimal(50),
    abandoned_usd=Decimal(2),
    abandoned_share=Decimal("0.1"),
    abandoned_seconds=600,
)


def test_what_was_left_unpaid_is_made_up_for_by_time_and_by_charges(clock: Clock) -> None:
    abandoned = AbandonedAnswers(EXPOSURE, clock)
    for _ in range(4):
        abandoned.add(PAYER, Decimal("0.75"))
    assert abandoned.seconds_to_wait(PAYER, NOTHING) == 300
    assert abandoned.seconds_to_wait(OTHER, NOTHING) == 0
    abandoned.charged(PAYER, Decimal("0.5"))
    abandoned.charged(OTHER, Decimal("0.5"))
    assert abandoned.seconds_to_wait(PAYER, NOTHING) == 150
    clock.now += 150
    assert abandoned.seconds_to_wait(PAYER, NOTHING) == 0
    assert PAYER in abandoned.unpaid


def test_more_is_forgiven_to_whoever_has_settled_more(clock: Clock) -> None:
    abandoned = AbandonedAnswers(EXPOSURE, clock)
    abandoned.add(PAYER, Decimal(3))
    assert abandoned.seconds_to_wait(PAYER, Decimal(5)) == 150
    assert abandoned.seconds_to_wait(PAYER, Decimal(10)) == 0


def test_nothing_is_remembered_of_what_is_made_up_for(clock: Clock) -> None:
    abandoned = AbandonedAnswers(EXPOSURE, clock)
    abandoned.add(PAYER, Decimal("0.75"))
    clock.now += 226
    abandoned.add(OTHER, Decimal("0.75"))
    assert set(abandoned.unpaid) == {OTHER}
    abandoned.charged(OTHER, Decimal(1))
    assert not abandoned.unpaid


async def test_leaving_again_and_again_is_refused_for_a_while(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    """Whoever is charged for as much as it leaves can go on, and others are not affected."""
    definitions = quick(exposure={"abandoned_usd": Decimal("0.01"), "abandoned_seconds": 3600})
    async with open_harness(chain, facilitator, journal, definitions=definitions) as billing:
        wallet = await chain.wallet(usdc=DOLLAR, approve=True)
        for _ in range(3):
            await (await billing.admit(wallet, order())).release("client_left", Decimal("0.005"))
        error = await refusal(billing.payments, await billing.pay(wallet, order()))
        assert (error.status, error.code) == (429, "too_much_unsettled")
        assert error.retry_after == pytest.approx(1800, abs=60)
        assert "PAYMENT-REQUIRED" not in error.headers
        await (await billing.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())).settle(bill())


@pytest.mark.parametrize(("scheme", "stream"), [("upto", False), ("exact", True)])
async def test_a_charge_makes_up_for_what_was_left(billing: BillingHarness, scheme: str, stream: bool) -> None:
    wallet = await billing.chain.wallet(usdc=DOLLAR, approve=True)
    charged = await billing.admit(wallet, order(stream=stream), scheme=scheme)
    await (await billing.admit(wallet, order())).release("client_left", Decimal("2.1"))
    paid = await billing.pay(wallet, order())
    assert (await refusal(billing.payments, paid)).status == 429
    await charged.settle(bill("0.2"))
    await (await billing.payments.admit(paid)).settle(bill())


async def test_a_payment_in_use_is_in_use_whatever_its_payer_left(billing: BillingHarness) -> None:
    wallet = await billing.chain.wallet(usdc=DOLLAR, approve=True)
    paid = await billing.pay(wallet, order())
    await billing.payments.admit(paid)
    await (await billing.admit(wallet, order())).release("client_left", Decimal(3))
    assert (await refusal(billing.payments, paid)).status == 409


@pytest.mark.parametrize(("signed", "cut", "status"), [(200, True, 429), (600, True, None), (200, False, None)])
async def test_an_answer_cut_by_a_deadline_of_the_payer_s_own_choice_counts_as_left(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, signed: int, cut: bool, status: int | None
) -> None:
    """A deadline as late as the gateway offers is no choice of the payer's."""
    clock, limit = UnixClock(), {"abandoned_usd": Decimal("0.01"), "abandoned_seconds": 3600}
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    earlier = quick(quotes={"max_timeout_seconds": signed})
    async with open_harness(chain, facilitator, journal, definitions=earlier) as billing:
        paid = [payload_of(await billing.pay(wallet, order())) for _ in range(2)]
        payee = billing.payee
    async with open_harness(
        chain, facilitator, journal, definitions=quick(exposure=limit), payee=payee, clock=clock
    ) as billing:
        payment = await billing.payments.admit(with_payment(order(), paid[0]))
        clock.ahead = signed if cut else 0
        assert (payment.timeout == 0) is cut
        await payment.release("upstream_failed")
        clock.ahead = 0
        again = with_payment(order(), paid[1])
        if status is None:
            await (await billing.payments.admit(again)).settle(bill())
        else:
            assert (await refusal(billing.payments, again)).status == status
