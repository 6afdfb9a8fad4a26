"""A facilitator that breaks, lies or keeps silent, and balances on the chain afterwards (facts/x402.md 4 rows 6, 7,
20, 22, 23, 25; practice.md 6 rows 10, 25)."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.billing.definitions import Definitions
from gateway.billing.x402_payment import X402Payment
from tests.billing.harness import DOLLAR, BillingHarness, bill, open_harness, order, quick, refusal, required, response
from tests.waiting import until_answer
from tools.chain.deployment import USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import (
    Body,
    Denied,
    Drop,
    Fault,
    JobMode,
    NothingSettled,
    OtherAmount,
    OtherPayee,
    Pending,
    Slow,
    Status,
)
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet


async def paid_once(billing: BillingHarness) -> None:
    """Waits until the bill's 1230 units are paid and makes sure that nothing else moves."""
    await until_answer(billing.balance, lambda paid: paid == 1230)
    await asyncio.sleep(0.5)
    assert [transfer.amount for transfer in await billing.chain.transfers(USDC, payee=billing.payee)] == [1230]


def definitions_for(fault: Fault) -> Definitions:
    """A slow call is given up soon, any other is waited for."""
    return quick(facilitator={"verify_seconds": 2.0, "settle_seconds": 1.0}) if isinstance(fault, Slow) else quick()


async def admitted(billing: BillingHarness, **how: Any) -> X402Payment:
    return await billing.admit(await billing.chain.wallet(usdc=DOLLAR, approve=True), order(), **how)


@pytest.mark.parametrize("fault", [Status(500), Status(429), Drop(), Slow(5), Body("<html>"), Body('{"isValid": 1}')])
async def test_verification_that_breaks_is_503_without_an_offer_and_the_payment_stays_good(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, fault: Fault
) -> None:
    async with open_harness(chain, facilitator, journal, definitions=definitions_for(fault)) as billing:
        paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
        facilitator.faults.set("verify", fault)
        error = await refusal(billing.payments, paid)
        assert error.status == 503
        assert error.retry_after
        assert "PAYMENT-REQUIRED" not in error.headers
        facilitator.faults.clear()
        await (await billing.payments.admit(paid)).settle(bill())
        assert await billing.balance() == 1230


async def test_one_broken_verification_is_asked_again(billing: BillingHarness) -> None:
    billing.facilitator.faults.set("verify", Status(500), times=1)
    await (await admitted(billing)).settle(bill())
    assert len(billing.facilitator.called("verify")) == 2


@pytest.mark.parametrize("rpc", [True, False])
@pytest.mark.parametrize(
    "fault", [Drop("before"), Status(503, when="before"), Slow(1.5, "before"), Body("<html>", "before")]
)
async def test_a_settlement_lost_before_it_was_made_is_sent_again(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, rpc: bool, fault: Fault
) -> None:
    async with open_harness(chain, facilitator, journal, definitions=definitions_for(fault), rpc=rpc) as billing:
        payment = await admitted(billing)
        facilitator.faults.set("settle", fault, times=2)
        receipt = await payment.settle(bill())
        assert receipt.payment is not None
        assert receipt.payment["status"] in ("pending", "settled")
        await paid_once(billing)


@pytest.mark.parametrize("verdict", [{"isValid": True, "payer": ""}, {"isValid": True, "payer": None}])
async def test_a_verdict_need_not_name_the_payer(billing: BillingHarness, verdict: dict[str, Any]) -> None:
    billing.facilitator.faults.set("verify", Body(json.dumps(verdict)))
    await (await admitted(billing)).settle(bill())
    assert await billing.balance() == 1230


async def test_a_verdict_on_another_payer_is_none(billing: BillingHarness, chain: LocalChain) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    billing.facilitator.faults.set("verify", Body(json.dumps({"isValid": True, "payer": "0x" + "11" * 20})))
    error = await refusal(billing.payments, paid)
    assert (error.status, error.code) == (503, "payments_unavailable")


NOT_CONFIRMED = json.dumps({"success": False, "errorReason": "unexpected_error", "transaction": "", "network": ""})
"""What x402-rs answers when it could not read the receipt of a transaction that it sent."""


@pytest.mark.parametrize("rpc", [True, False])
@pytest.mark.parametrize(
    "fault",
    [Drop("after"), Status(502, when="after"), Slow(1.5, "after"), Body("", "after"), Body(NOT_CONFIRMED, "after")],
)
async def test_a_settlement_whose_answer_was_lost_is_not_made_twice(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, rpc: bool, fault: Fault
) -> None:
    async with open_harness(chain, facilitator, journal, definitions=definitions_for(fault), rpc=rpc) as billing:
        payment = await admitted(billing)
        facilitator.faults.set("settle", fault, times=1)
        receipt = await payment.settle(bill())
        await paid_once(billing)
        assert receipt.payment is not None
        if rpc:
            assert response(receipt)["success"]
            assert receipt.payment["status"] == "settled"
        else:
            assert receipt.payment["status"] == "pending"
            assert response(receipt)["errorReason"] == "settlement_pending"


async def test_a_facilitator_that_is_gone_leaves_the_answer_delivered_and_pending(
    chain: LocalChain, journal: Path
) -> None:
    async with LocalFacilitator(chain.rpc_url) as facilitator, open_harness(chain, facilitator, journal) as billing:
        payment = await admitted(billing)
        facilitator.faults.set("settle", Drop())
        receipt = await payment.settle(bill())
        assert receipt.payment is not None
        assert receipt.payment["status"] == "pending"
        assert response(receipt)["errorReason"] == "settlement_pending"
        facilitator.faults.clear()
        await paid_once(billing)


async def test_a_broadcast_settlement_is_followed_on_the_chain(billing: BillingHarness) -> None:
    payment = await admitted(billing)
    billing.facilitator.faults.set("settle", Pending(), times=1)
    receipt = await payment.settle(bill())
    assert response(receipt)["success"]
    await paid_once(billing)
    assert len(billing.facilitator.called("settle")) == 1


async def test_a_payment_in_an_unknown_state_is_in_use_and_never_priced_anew(
    billing: BillingHarness, chain: LocalChain
) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    payment = await billing.payments.admit(paid)
    billing.facilitator.faults.set("settle", Drop())
    await payment.settle(bill())
    error = await refusal(billing.payments, paid)
    assert error.status == 409
    assert "PAYMENT-REQUIRED" not in error.headers
    billing.facilitator.faults.clear()
    await paid_once(billing)


@pytest.mark.parametrize("wrapped", [True, False])
async def test_queued_settlements_are_followed(billing: BillingHarness, wrapped: bool) -> None:
    billing.facilitator.jobs = JobMode(seconds=0.1, wrapped=wrapped)
    receipt = await (await admitted(billing)).settle(bill())
    assert response(receipt)["success"]
    assert not str(response(receipt)["transaction"]).startswith("payment-")
    await paid_once(billing)
    assert len(billing.facilitator.called("settle")) == 1
    second = await admitted(billing)
    await second.settle(bill())
    sent = billing.facilitator.called("settle")[1].body
    assert sent["usageMetadata"] == {
        "request_count": 1,
        "cost_usd": "0.00123",
        "input_tokens": 10,
        "output_tokens": 20,
        "total_tokens": 30,
        "method": "POST",
        "path": order().path,
        "model": "gpt-4.1",
        "network": "eip155:8453",
        "asset": USDC.address,
        "is_streaming": False,
    }
    assert "messages" not in str(sent)


@pytest.mark.parametrize("outcome", ["failed", "lost", "stalled"])
async def test_a_queued_settlement_that_goes_astray_is_reconciled(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, outcome: Any
) -> None:
    async with open_harness(
        chain, facilitator, journal, definitions=quick(facilitator={"job_seconds": 0.3})
    ) as billing:
        payment = await admitted(billing)
        facilitator.jobs = JobMode(seconds=0.05, outcome=outcome)
        settling = asyncio.create_task(payment.settle(bill()))
        await asyncio.sleep(0.4)
        facilitator.jobs = None
        receipt = await settling
        assert receipt.payment is not None
        assert receipt.payment["status"] in ("settled", "pending")
        if outcome != "stalled":
            await paid_once(billing)


@pytest.mark.parametrize("fault", [NothingSettled(), OtherPayee(Wallet().address)])
async def test_a_success_that_the_chain_does_not_show_is_not_believed(billing: BillingHarness, fault: Fault) -> None:
    payment = await admitted(billing)
    await billing.chain.mint(await billing.chain.wallet(), USDC, DOLLAR, to=billing.facilitator.address)
    billing.facilitator.faults.set("settle", fault, times=1)
    receipt = await payment.settle(bill())
    assert receipt.payment is not None
    assert receipt.payment["status"] in ("pending", "settled")
    await paid_once(billing)


async def test_another_amount_is_told_by_the_chains_figure(billing: BillingHarness) -> None:
    payment = await admitted(billing)
    billing.facilitator.faults.set("settle", OtherAmount(7))
    receipt = await payment.settle(bill())
    assert receipt.payment is not None
    assert receipt.payment["amount"] == "7"
    assert await billing.balance() == 7


async def test_a_lie_about_failing_is_seen_on_the_chain(billing: BillingHarness) -> None:
    payment = await admitted(billing)
    billing.facilitator.faults.set("settle", Denied())
    assert response(await payment.settle(bill()))["success"]
    await paid_once(billing)


async def upfront(billing: BillingHarness) -> tuple[Wallet, Any]:
    wallet = await billing.chain.wallet(usdc=DOLLAR)
    return wallet, await billing.pay(wallet, order(stream=True), scheme="exact")


async def test_an_upfront_payment_without_answer_buys_the_next_one(billing: BillingHarness) -> None:
    wallet, paid = await upfront(billing)
    payment = await billing.payments.admit(paid)
    price = await billing.balance()
    await payment.release("upstream_failed")
    await billing.payments.settlements.drain(5)
    second = await billing.payments.admit(await billing.pay(wallet, order(stream=True), scheme="exact"))
    receipt = await second.settle(bill())
    assert receipt.payment is not None
    assert receipt.payment["status"] == "waived"
    assert await billing.balance() == price
    third = await billing.payments.admit(await billing.pay(wallet, order(stream=True), scheme="exact"))
    await third.settle(bill())
    assert await billing.balance() == 2 * price


async def test_an_upfront_payment_with_unknown_outcome_is_not_served_and_credited_when_it_was_paid(
    billing: BillingHarness,
) -> None:
    wallet, paid = await upfront(billing)
    billing.facilitator.faults.set("settle", Drop("before"), times=2)
    error = await refusal(billing.payments, paid)
    assert (error.status, error.code, error.should_retry) == (503, "settlement_pending", False)
    assert "PAYMENT-REQUIRED" not in error.headers
    told = response(error)
    assert (told["success"], told["errorReason"], told["payer"]) == (False, "settlement_pending", wallet.address)
    price = await until_answer(billing.balance)
    await billing.payments.settlements.drain(5)
    second = await billing.payments.admit(await billing.pay(wallet, order(stream=True), scheme="exact"))
    await second.settle(bill())
    assert await billing.balance() == price


async def test_an_upfront_payment_that_is_refused_is_not_served(billing: BillingHarness) -> None:
    wallet, paid = await upfront(billing)
    await billing.chain.transfer(wallet, USDC, Wallet().address, DOLLAR)
    error = await refusal(billing.payments, paid)
    assert error.status == 402
    assert response(error)["success"] is False


@pytest.mark.parametrize("answered", [True, False])
async def test_an_upfront_payment_is_in_use_while_it_is_served_and_used_afterwards(
    billing: BillingHarness, answered: bool
) -> None:
    _, paid = await upfront(billing)
    payment = await billing.payments.admit(paid)
    error = await refusal(billing.payments, paid)
    assert error.status == 409
    assert "PAYMENT-REQUIRED" not in error.headers
    if answered:
        await payment.settle(bill())
    else:
        await payment.release("upstream_failed")
        await billing.payments.settlements.drain(5)
    error = await refusal(billing.payments, paid)
    assert (error.status, error.code) == (402, "payment_already_used")
    assert required(error)["accepts"]


async def test_settlement_data_is_hashes_only_and_only_when_asked_for(
    billing: BillingHarness, chain: LocalChain
) -> None:
    for kind in ("batch", "Private", "whatever"):
        wallet = await chain.wallet(usdc=DOLLAR, approve=True)
        payment = await billing.admit(wallet, order(headers={"x-settlement-type": kind}))
        await payment.settle(bill())
    await (await admitted(billing)).settle(bill())
    await billing.payments.settlements.drain(5)
    calls = billing.facilitator.called("settle_data")
    assert [call.headers["x-settlement-type"] for call in calls] == ["batch", "batch"]
    assert [call.status for call in calls] == [202, 202]
    assert calls[0].body == {}
