"""``upto`` is not offered where the facilitator does not settle part of what was signed (facts/x402.md 4 row 21)."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.billing.upto_trial import CHARGED, TrialPayer
from gateway.openai_api.errors import GatewayError
from tests.billing.till import Till, bill, order, quick, refusal, required, response, till
from tools.chain.deployment import OPG, USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Drop, OtherAmount, WholeAmount
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet

DOLLAR = 10**6


async def schemes(shop: Till) -> set[str]:
    offer = await shop.offer(order())
    return {accepted["scheme"] for accepted in offer["accepts"]}


def trial_of(wallet: Wallet) -> dict[str, Any]:
    return {"trial_payer": TrialPayer.of(wallet.key)}


@pytest.mark.parametrize("token", [OPG, USDC])
@pytest.mark.parametrize("rpc", [True, False])
async def test_one_unit_is_settled_before_upto_is_offered(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, token: Any, rpc: bool
) -> None:
    wallet = await chain.wallet(**{token.symbol.lower(): 2}, approve=True)
    async with till(chain, facilitator, journal, rpc=rpc, **trial_of(wallet)) as shop:
        assert await shop.balance(token) == CHARGED
        assert await schemes(shop) == {"upto", "exact"}
        payment = await shop.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())
        await payment.settle(bill())


async def test_a_facilitator_that_fails_the_trial_settles_exact_payments_only(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    facilitator.faults.set("settle", WholeAmount())
    wallet = await chain.wallet(opg=2, usdc=2, approve=True)
    async with till(chain, facilitator, journal, **trial_of(wallet)) as shop:
        assert await schemes(shop) == {"exact"}
        payment = await shop.admit(await chain.wallet(usdc=DOLLAR, approve=True), order(), scheme="exact")
        assert response(await payment.settle(bill()))["success"]
        assert await shop.balance(OPG) == 0


@pytest.mark.parametrize("fault", [Drop("before"), OtherAmount(2)])
async def test_a_trial_that_failed_is_made_again(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, fault: Any
) -> None:
    facilitator.faults.set("settle", fault)
    wallet = await chain.wallet(opg=10, usdc=10, approve=True)
    definitions = quick(
        facilitator={"supported_refresh_seconds": 0.1, "settle_seconds": 0.3}, settlement={"hold_seconds": 0.3}
    )
    async with till(chain, facilitator, journal, definitions=definitions, **trial_of(wallet)) as shop:
        assert await schemes(shop) == {"exact"}
        facilitator.faults.clear()
        async with asyncio.timeout(10):
            while await schemes(shop) == {"exact"}:
                await asyncio.sleep(0.05)


async def test_a_payer_without_funds_leaves_upto_untried_and_says_so(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with till(chain, facilitator, journal, **trial_of(Wallet())) as shop:
            assert await schemes(shop) == {"exact"}
    assert "upto not tried" in caplog.messages
    assert facilitator.called("settle") == []


async def test_without_a_trial_the_first_refused_part_ends_upto(shop: Till, chain: LocalChain) -> None:
    """That answer is withheld and held against nobody; offers of upto that are still out are not taken any more."""
    shop.facilitator.faults.set("settle", WholeAmount())
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    payment = await shop.admit(wallet, order())
    late = await shop.pay(wallet, order())
    assert await schemes(shop) == {"upto", "exact"}
    with pytest.raises(GatewayError) as withheld:
        await payment.settle(bill())
    assert (withheld.value.status, response(withheld.value)["errorReason"]) == (402, "permit2_amount_mismatch")
    assert await schemes(shop) == {"exact"}
    error = await refusal(shop.payments, late)
    assert (error.status, error.code) == (402, "unsupported_scheme")
    assert {accepted["scheme"] for accepted in required(error)["accepts"]} == {"exact"}
    exact = await shop.admit(wallet, order(), scheme="exact")
    await exact.settle(bill())


async def test_where_upto_is_all_there_is_a_failed_trial_closes_the_gate(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    definitions = quick()
    upto = tuple(offer for offer in definitions.offers if offer.scheme == "upto")
    definitions = msgspec.structs.replace(definitions, offers=upto)
    facilitator.faults.set("settle", WholeAmount())
    wallet = await chain.wallet(opg=2, usdc=2, approve=True)
    async with till(chain, facilitator, journal, definitions=definitions, **trial_of(wallet)) as shop:
        error = await refusal(shop.payments, order())
        assert error.status == 503
        assert "trial" in error.message
