"""A facilitator that changes while it is in use: other keys, fewer schemes (facts/x402.md 1.5)."""

import asyncio
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.billing.definitions import bundled
from tests.billing.harness import DOLLAR, BillingHarness, bill, open_harness, order, refusal, required
from tests.waiting import until, until_answer
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Body, Status
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet

NETWORK = "eip155:8453"
LONG_AGO = 0.0

Offers = list[dict[str, Any]]


def supports(facilitator: LocalFacilitator, *schemes: str, signer: str) -> None:
    """What it says of itself from now on."""
    kinds = [
        {"x402Version": 2, "scheme": scheme, "network": NETWORK, "extra": {"facilitatorAddress": signer}}
        for scheme in schemes
    ]
    facilitator.faults.set("supported", Body(json.dumps({"kinds": kinds, "signers": {"eip155:*": [signer]}})))


async def offered(billing: BillingHarness, condition: Callable[[Offers], bool]) -> None:
    """Waits for such offers, long before the facilitator would be asked again anyway."""
    await until_answer(lambda: billing.offer(order()), lambda offer: condition(offer["accepts"]))


async def test_other_keys_are_offered_once_a_payment_for_the_old_ones_was_refused(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    old = Wallet().address
    supports(facilitator, "upto", "exact", signer=old)
    async with open_harness(chain, facilitator, journal) as billing:
        wallet = await chain.wallet(usdc=DOLLAR, approve=True)
        supports(facilitator, "upto", "exact", signer=facilitator.address)
        billing.payments._capabilities._attempted_at = LONG_AGO
        error = await refusal(billing.payments, await billing.pay(wallet, order()))
        assert (error.status, error.code) == (402, "upto_facilitator_mismatch")
        assert required(error)["accepts"]
        await offered(billing, lambda offers: offers[0]["extra"]["facilitatorAddress"] == facilitator.address)
        await (await billing.admit(wallet, order())).settle(bill())
        assert await billing.balance() == 1230


async def test_a_scheme_that_was_withdrawn_is_offered_no_longer_once_its_payments_fail(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    async with open_harness(chain, facilitator, journal) as billing:
        paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
        supports(facilitator, "exact", signer=facilitator.address)
        facilitator.faults.set("verify", Status(500))
        billing.payments._capabilities._attempted_at = LONG_AGO
        assert (await refusal(billing.payments, paid)).status == 503
        await offered(billing, lambda offers: {offer["scheme"] for offer in offers} == {"exact"})
        withdrawn = await refusal(billing.payments, paid)
        assert (withdrawn.status, withdrawn.code) == (402, "unsupported_scheme")


async def test_one_for_test_networks_only_is_told_of(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    """As x402.org's, the default of the SDKs. Prices would be the wrong place to look."""
    kinds = [{"x402Version": 2, "scheme": "exact", "network": "eip155:84532"}]
    facilitator.faults.set("supported", Body(json.dumps({"kinds": kinds, "extensions": [], "signers": {}})))
    async with open_harness(chain, facilitator, journal) as billing:
        reason = "the facilitator supports none of the configured schemes and networks"
        assert billing.payments.reasons() == [f"the facilitator is not usable: /supported: {reason}"]
        error = await refusal(billing.payments, order())
        assert (error.status, reason in error.message) == (503, True)


async def test_one_that_stays_away_is_told_of_once_for_each_reason(
    billing: BillingHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked every second then."""
    faults = billing.facilitator.faults
    for status in (500, 500, 502, 502, None, 502):
        faults.clear()
        if status is not None:
            faults.set("supported", Status(status))
        await billing.payments._capabilities.refresh()
    reasons = [record.__dict__["reason"] for record in caplog.records if record.message == "facilitator not usable"]
    assert reasons == [f"/supported returned {status}" for status in (500, 502, 502)]


async def test_one_that_was_asked_just_now_is_not_asked_for_every_payment_that_fails(
    billing: BillingHarness, chain: LocalChain
) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    billing.facilitator.faults.set("verify", Status(500))
    billing.payments._capabilities._attempted_at = math.inf
    asked = len(billing.facilitator.called("supported"))
    for _ in range(3):
        assert (await refusal(billing.payments, paid)).status == 503
    await asyncio.sleep(0.2)
    assert len(billing.facilitator.called("supported")) == asked


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 1.0), (0, 1.0), (30, 30.0), (3600, 60.0)])
async def test_supported_is_read_again_after_the_facilitator_s_retry_after(
    billing: BillingHarness, monkeypatch: pytest.MonkeyPatch, retry_after: int | None, seconds: float
) -> None:
    billing.facilitator.faults.set("supported", Status(429, retry_after))
    monkeypatch.setattr(billing.payments._capabilities, "_last", None)
    await billing.payments._capabilities.refresh()
    assert billing.payments._capabilities.interval() == seconds
    billing.facilitator.faults.clear()
    await billing.payments._capabilities.refresh()
    assert billing.payments._capabilities.interval() == bundled().facilitator.supported_refresh_seconds


async def test_a_retry_after_that_has_passed_delays_no_later_reading(
    billing: BillingHarness, chain: LocalChain
) -> None:
    """A payment that fails asks for one, as when the facilitator has dropped a scheme."""
    faults = billing.facilitator.faults
    faults.set("supported", Status(429, 60))
    await billing.payments._capabilities.refresh()
    faults.clear()
    await billing.payments._capabilities.refresh()
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    faults.set("verify", Status(500))
    billing.payments._capabilities._attempted_at = time.monotonic() - 2.0
    asked = len(billing.facilitator.called("supported"))
    assert (await refusal(billing.payments, paid)).status == 503
    await until(lambda: len(billing.facilitator.called("supported")) != asked)


async def test_while_it_fails_the_gateway_is_not_ready_and_it_is_asked_until_it_is_back(
    billing: BillingHarness, chain: LocalChain
) -> None:
    """A payment that finds it away tells of it first: nobody else asks it for minutes."""
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    faults = billing.facilitator.faults
    for endpoint in ("verify", "supported"):
        faults.set(endpoint, Status(502))
    billing.payments._capabilities._attempted_at = LONG_AGO
    assert billing.payments.reasons() == []
    assert (await refusal(billing.payments, paid)).status == 503
    await until(lambda: billing.payments.reasons() == ["the facilitator is not usable: /supported returned 502"])
    assert (await refusal(billing.payments, order())).status == 402, "what it supports is still known"
    faults.clear()
    await until(lambda: billing.payments.reasons() == [])
