"""``upto`` is not offered where the facilitator does not settle part of what was signed (facts/x402.md 4 row 21)."""

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.billing.capabilities import Capabilities
from gateway.billing.journal import State
from gateway.billing.upto_trial import CHARGED, TrialPayer, UptoTrial
from gateway.openai_api.errors import GatewayError
from tests.billing.entries import entry
from tests.billing.harness import DOLLAR, BillingHarness, bill, open_harness, order, quick, refusal, required, response
from tests.money.paid_gateway import read_journal
from tests.waiting import until, until_answer
from tools.chain.deployment import OPG, USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Drop, OtherAmount, Slow, WholeAmount
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet


async def schemes(billing: BillingHarness) -> set[str]:
    offer = await billing.offer(order())
    return {accepted["scheme"] for accepted in offer["accepts"]}


def trial_of(wallet: Wallet) -> dict[str, Any]:
    return {"trial_payer": TrialPayer.from_key(wallet.key)}


@pytest.mark.parametrize("token", [OPG, USDC])
@pytest.mark.parametrize("rpc", [True, False])
async def test_one_unit_is_settled_before_upto_is_offered(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, token: Any, rpc: bool
) -> None:
    wallet = await chain.wallet(**{token.symbol.lower(): 2}, approve=True)
    async with open_harness(chain, facilitator, journal, rpc=rpc, **trial_of(wallet)) as billing:
        await until(lambda: not billing.payments.reasons())
        await until_answer(lambda: schemes(billing), lambda offered: offered == {"upto", "exact"})
        assert await billing.balance(token) == CHARGED
        payment = await billing.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())
        await payment.settle(bill())


async def test_a_facilitator_that_fails_the_trial_settles_exact_payments_only(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    facilitator.faults.set("settle", WholeAmount())
    wallet = await chain.wallet(opg=2, usdc=2, approve=True)
    async with open_harness(chain, facilitator, journal, **trial_of(wallet)) as billing:
        assert await schemes(billing) == {"exact"}
        payment = await billing.admit(await chain.wallet(usdc=DOLLAR, approve=True), order(), scheme="exact")
        assert response(await payment.settle(bill()))["success"]
        assert await billing.balance(OPG) == 0


@pytest.mark.parametrize("fault", [Drop("before"), OtherAmount(2)])
async def test_a_trial_that_failed_is_made_again(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, fault: Any
) -> None:
    facilitator.faults.set("settle", fault)
    wallet = await chain.wallet(opg=10, usdc=10, approve=True)
    definitions = quick(facilitator={"supported_refresh_seconds": 0.1}, settlement={"hold_seconds": 0.3})
    async with open_harness(chain, facilitator, journal, definitions=definitions, **trial_of(wallet)) as billing:
        assert await schemes(billing) == {"exact"}
        facilitator.faults.clear()
        await until_answer(lambda: schemes(billing), lambda offered: offered != {"exact"})


async def test_a_trial_in_progress_is_finished_by_a_configuration_that_is_replaced(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    """As by an injection: what is claimed must not count against the payer until the trial's deadline."""
    facilitator.faults.set("verify", Slow(1.5))
    wallet = await chain.wallet(opg=2, approve=True)
    async with open_harness(chain, facilitator, journal, drain=5.0, **trial_of(wallet)) as billing:
        await until(lambda: facilitator.called("verify"))
        billing.payments.retire()
    assert [entry.state for entry in read_journal(journal)] == [State.SETTLED]
    assert await billing.balance(OPG) == CHARGED


async def test_a_payer_without_funds_leaves_upto_untried_and_says_so(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with open_harness(chain, facilitator, journal, **trial_of(Wallet())) as billing:
            assert await schemes(billing) == {"exact"}
    assert "upto not tried" in caplog.messages
    assert facilitator.called("settle") == []


async def test_without_a_trial_the_first_refused_part_ends_upto(billing: BillingHarness, chain: LocalChain) -> None:
    """That answer is withheld and held against nobody; offers of upto that are still out are not taken any more."""
    billing.facilitator.faults.set("settle", WholeAmount())
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    payment = await billing.admit(wallet, order())
    late = await billing.pay(wallet, order())
    assert await schemes(billing) == {"upto", "exact"}
    with pytest.raises(GatewayError) as withheld:
        await payment.settle(bill())
    assert (withheld.value.status, response(withheld.value)["errorReason"]) == (402, "permit2_amount_mismatch")
    assert await schemes(billing) == {"exact"}
    error = await refusal(billing.payments, late)
    assert (error.status, error.code) == (402, "unsupported_scheme")
    assert {accepted["scheme"] for accepted in required(error)["accepts"]} == {"exact"}
    exact = await billing.admit(wallet, order(), scheme="exact")
    await exact.settle(bill())


async def test_where_upto_is_all_there_is_a_failed_trial_closes_the_gate(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    definitions = quick()
    upto = tuple(offer for offer in definitions.offers if offer.scheme == "upto")
    definitions = msgspec.structs.replace(definitions, offers=upto)
    facilitator.faults.set("settle", WholeAmount())
    wallet = await chain.wallet(opg=2, usdc=2, approve=True)
    async with open_harness(chain, facilitator, journal, definitions=definitions, **trial_of(wallet)) as billing:
        error = await refusal(billing.payments, order())
        assert error.status == 503
        assert "trial" in error.message


BASE, SEPOLIA = "eip155:8453", "eip155:84532"
REFUSED_PART: dict[str, Any] = {
    "state": State.FAILED,
    "amount": 9,
    "cap": 10,
    "note": "permit2_amount_mismatch: all or nothing",
}


@pytest.mark.parametrize(
    ("changes", "withdrawn"),
    [
        ({}, True),
        ({"amount": None}, True),
        ({"note": "permit2_amount_mismatch"}, True),
        ({"note": "invalid_exact_evm_payload_authorization_value_too_low: value too low"}, True),
        ({"amount": 10}, False),
        ({"scheme": "exact"}, False),
        ({"payers_fault": True}, False),
        ({"state": State.SETTLED}, False),
        ({"state": State.PENDING}, False),
        ({"note": "transaction_failed: the amount is odd"}, False),
        ({"note": "The total cost (gas * gas fee + value) of this transaction exceeds the balance"}, False),
        ({"note": ""}, False),
    ],
)
@pytest.mark.parametrize("tried", [False, True])
def test_a_refused_part_withdraws_upto_on_its_network(tried: bool, changes: dict[str, Any], withdrawn: bool) -> None:
    nothing: Any = None
    payer: Any = object() if tried else None
    trial = UptoTrial(nothing, nothing, nothing, b"", payer)
    trial._passed.update((BASE, SEPOLIA))
    kinds = frozenset((scheme, network) for scheme in ("upto", "exact") for network in (BASE, SEPOLIA))
    supported = Capabilities(kinds=kinds, facilitators={}, signers={}, extensions=frozenset())
    trial.on_settlement_end(entry(**REFUSED_PART | changes))
    assert kinds - trial.restrict(supported).kinds == ({("upto", BASE)} if withdrawn else set())
    assert trial.is_pending(supported) is withdrawn
