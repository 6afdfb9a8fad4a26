"""Getting served without paying, or more than was paid for (facts/x402.md 4 rows 2, 8-10, 15, 17-19, 24)."""

import asyncio
import copy
import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.billing.journal import State
from gateway.billing.payment import Order
from gateway.billing.x402_payment import X402Payment
from gateway.openai_api.errors import GatewayError
from tests.billing.harness import (
    DOLLAR,
    BillingHarness,
    bill,
    open_harness,
    order,
    payload_of,
    refusal,
    required,
    response,
    with_payment,
)
from tools.chain.deployment import OPG, USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Denied, Verdict
from tools.chain.local_chain import LocalChain
from tools.chain.payments import Payment as SignedPayment
from tools.chain.payments import upto_offer
from tools.chain.wallet import ContractWallet, Wallet

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


async def rush(tills: list[BillingHarness], orders: list[Order]) -> tuple[list[X402Payment], list[GatewayError]]:
    """All requests at once, spread over the gateways."""
    outcomes = await asyncio.gather(
        *(tills[number % len(tills)].payments.admit(each) for number, each in enumerate(orders)), return_exceptions=True
    )
    admitted = [outcome for outcome in outcomes if isinstance(outcome, X402Payment)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, GatewayError)]
    assert len(admitted) + len(refused) == len(orders), outcomes
    return admitted, refused


def shouting(payload: dict[str, Any]) -> dict[str, Any]:
    permit = payload["payload"]["permit2Authorization"]
    permit["from"] = "0x" + permit["from"][2:].upper()
    permit["spender"] = "0x" + permit["spender"][2:].upper()
    permit["permitted"]["token"] = permit["permitted"]["token"].lower()
    return payload


def hex_nonce(payload: dict[str, Any]) -> dict[str, Any]:
    permit = payload["payload"]["permit2Authorization"]
    permit["nonce"] = f"0x{int(permit['nonce']):064X}"
    return payload


def flipped(payload: dict[str, Any]) -> dict[str, Any]:
    raw = bytes.fromhex(payload["payload"]["signature"][2:])
    s = CURVE_ORDER - int.from_bytes(raw[32:64], "big")
    payload["payload"]["signature"] = "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes([55 - raw[64]])).hex()
    return payload


def compact(payload: dict[str, Any]) -> dict[str, Any]:
    raw = bytes.fromhex(payload["payload"]["signature"][2:])
    s = int.from_bytes(raw[32:64], "big") | (raw[64] - 27) << 255
    payload["payload"]["signature"] = "0x" + (raw[:32] + s.to_bytes(32, "big")).hex()
    return payload


def zero_one(payload: dict[str, Any]) -> dict[str, Any]:
    signature = payload["payload"]["signature"]
    payload["payload"]["signature"] = f"{signature[:-2]}{int(signature[-2:], 16) - 27:02x}"
    return payload


def reordered(payload: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(payload.items()))


def decorated(payload: dict[str, Any]) -> dict[str, Any]:
    return payload | {"note": "x", "extensions": {"other": {}}}


VARIANTS: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
    shouting, hex_nonce, flipped, compact, zero_one, reordered, decorated,
]  # fmt: skip


@pytest.mark.parametrize("first", range(len(VARIANTS)))
async def test_all_encodings_of_one_payload_are_one_payment(
    billing: BillingHarness, chain: LocalChain, first: int
) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    ordered = VARIANTS[first:] + VARIANTS[:first]
    orders = [with_payment(order(), variant(copy.deepcopy(payload_of(paid)))) for variant in ordered]
    spaced = b64encode(json.dumps(payload_of(paid), indent=2).encode()).decode()
    orders.append(replace(order(), headers={"payment-signature": spaced}))
    admitted, refused = await rush([billing], orders)
    assert len(admitted) == 1
    assert {error.status for error in refused} == {409}
    receipt = await admitted[0].settle(bill())
    assert response(receipt)["success"], "what is forwarded must settle whatever form it came in"


@pytest.mark.parametrize("rpc", [True, False])
async def test_five_permits_over_one_balance(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, rpc: bool
) -> None:
    """With the chain in sight one of five is served. Without, a newcomer can open two dollars' worth at most."""
    async with open_harness(chain, facilitator, journal, rpc=rpc) as billing:
        dear = order(output_tokens=30_000, prompt_tokens=100_000)
        cap = int((await billing.offer(dear))["accepts"][1]["amount"])
        assert 700_000 < cap <= DOLLAR
        wallet = await chain.wallet(usdc=cap, approve=True)
        orders = [await billing.pay(wallet, dear) for _ in range(5)]
        admitted, refused = await rush([billing], orders)
        assert len(admitted) == (1 if rpc else 2)
        expected = {"insufficient_funds", "too_much_unsettled"} if rpc else {"too_much_unsettled"}
        assert {error.code for error in refused} <= expected
        outcomes = await asyncio.gather(*(each.settle(bill("0.7")) for each in admitted), return_exceptions=True)
        settled = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        assert len(settled) == 1
        assert await billing.balance() == 700_000


async def test_covered_payments_of_one_payer_run_in_parallel(billing: BillingHarness, chain: LocalChain) -> None:
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    orders = [await billing.pay(wallet, order()) for _ in range(8)]
    admitted, refused = await rush([billing], orders)
    assert (len(admitted), refused) == (8, [])
    await asyncio.gather(*(each.settle(bill("0.001")) for each in admitted))
    assert await billing.balance() == 8000


async def test_first_time_payers_are_served_one_at_a_time(billing: BillingHarness, chain: LocalChain) -> None:
    wallet = await chain.wallet(usdc=DOLLAR)
    orders = [await billing.pay(wallet, order(), sponsored=True) for _ in range(3)]
    admitted, refused = await rush([billing], orders)
    assert len(admitted) == 1
    assert {(error.status, error.code) for error in refused} == {(429, "too_much_unsettled")}
    assert all(error.retry_after for error in refused)
    await admitted[0].settle(bill())
    assert await billing.balance() == 1230
    waited = await billing.admit(wallet, order(), sponsored=True)
    assert response(await waited.settle(bill()))["success"]


async def test_an_allowance_or_balance_that_is_missing_is_refused_before_the_work(
    billing: BillingHarness, chain: LocalChain
) -> None:
    unapproved = await billing.pay(await chain.wallet(usdc=DOLLAR), order())
    assert (await refusal(billing.payments, unapproved)).code == "permit2_allowance_required"
    broke = await billing.pay(await chain.wallet(usdc=1, approve=True), order())
    error = await refusal(billing.payments, broke)
    assert (error.status, error.code) == (402, "insufficient_funds")
    assert required(error)["accepts"]
    assert (await refusal(billing.payments, broke)).code == "insufficient_funds", "a released claim may come again"


@pytest.mark.parametrize("rpc", [True, False])
async def test_a_forged_signature_is_refused(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, rpc: bool
) -> None:
    async with open_harness(chain, facilitator, journal, rpc=rpc) as billing:
        victim = await chain.wallet(usdc=DOLLAR, approve=True)
        payload = payload_of(await billing.pay(Wallet(), order()))
        payload["payload"]["permit2Authorization"]["from"] = victim.address
        error = await refusal(billing.payments, with_payment(order(), payload))
        assert error.status == 402
        assert error.code == ("invalid_signature" if rpc else "invalid_permit2_signature")
        assert len(facilitator.called("verify")) == (0 if rpc else 1)


async def test_a_contract_account_pays_with_its_owners_signature(billing: BillingHarness, chain: LocalChain) -> None:
    contract: ContractWallet = await chain.contract_wallet(usdc=DOLLAR, approve=True)
    payment = await billing.admit(contract, order())
    assert response(await payment.settle(bill()))["payer"] == contract.address
    assert await billing.balance() == 1230


async def test_a_payment_that_could_be_withdrawn_does_not_buy_a_stream(
    billing: BillingHarness, chain: LocalChain
) -> None:
    """Of an exact payment settled after the work, an answer must be withheld until then."""
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order(), scheme="exact")
    error = await refusal(billing.payments, replace(paid, stream=True))
    assert error.code == "payment_flow_mismatch"
    flows = [offer["extra"].get("paymentFlow") for offer in required(error)["accepts"] if offer["scheme"] == "exact"]
    assert set(flows) == {"upfront"}
    await billing.payments.admit(paid)


async def test_a_cap_below_the_quote_is_refused(billing: BillingHarness, chain: LocalChain) -> None:
    """Zero or one unit signed, the offer echoed unchanged or changed alike."""
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    offer = (await billing.offer(order()))["accepts"][1]
    for amount, code in ((0, "invalid_payment_requirements"), (1, "quote_too_small")):
        cheap = upto_offer(USDC, amount, billing.facilitator.address, payee=billing.payee)
        signed = (await SignedPayment.sign(wallet, cheap)).payload.model_dump(by_alias=True, exclude_none=True)
        signed["resource"] = None
        assert (await refusal(billing.payments, with_payment(order(), signed))).code == code
        echo = with_payment(order(), signed | {"accepted": offer})
        assert (await refusal(billing.payments, echo)).code == "permit2_amount_mismatch"


async def test_an_answer_that_outlives_its_deadline_is_withheld(billing: BillingHarness, chain: LocalChain) -> None:
    """The sweep has closed a payment that nobody settled in time; its late answer finds that out."""
    payment = await billing.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())
    await payment._context.store.move(payment._entry, State.WAIVED, note="abandoned")
    with pytest.raises(GatewayError) as closed:
        await payment.settle(bill())
    assert (closed.value.status, closed.value.code) == (402, "payment_closed")
    assert "PAYMENT-REQUIRED" not in closed.value.headers
    assert billing.facilitator.called("settle") == []


async def test_both_kinds_of_authorization_in_one_payload_are_malformed(
    billing: BillingHarness, chain: LocalChain
) -> None:
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    upto = payload_of(await billing.pay(wallet, order()))
    exact = payload_of(await billing.pay(wallet, order(), scheme="exact"))
    upto["payload"]["authorization"] = exact["payload"]["authorization"]
    assert (await refusal(billing.payments, with_payment(order(), upto))).status == 400
    swapped = exact | {"accepted": upto["accepted"]}
    assert (await refusal(billing.payments, with_payment(order(), swapped))).code == "unsupported_payload_type"


@pytest.mark.parametrize("scheme", ["upto", "exact"])
async def test_a_balance_drained_after_verification_withholds_the_answer(
    billing: BillingHarness, chain: LocalChain, scheme: str
) -> None:
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    payment = await billing.admit(wallet, order(), scheme=scheme)
    await chain.transfer(wallet, USDC, Wallet().address, DOLLAR)
    with pytest.raises(GatewayError, match="withheld") as withheld:
        await payment.settle(bill())
    assert withheld.value.code == "insufficient_funds"
    assert await billing.balance() == 0
    await chain.mint(wallet, USDC, DOLLAR)
    assert (await refusal(billing.payments, await billing.pay(wallet, order()))).code == "upfront_required"


async def test_a_payment_released_before_work_may_come_again_and_after_work_may_not(
    billing: BillingHarness, chain: LocalChain
) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    billing.facilitator.faults.set("verify", Verdict(valid=False), times=1)
    assert (await refusal(billing.payments, paid)).code == "invalid_payload"
    payment = await billing.payments.admit(paid)
    await payment.release("upstream_failed")
    await billing.payments.settlements.drain(5)
    assert (await refusal(billing.payments, paid)).code == "payment_already_used"
    assert await billing.balance() == 0


async def test_a_client_that_leaves_during_verification_releases_its_payment(
    billing: BillingHarness, chain: LocalChain
) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    admission = asyncio.create_task(billing.payments.admit(paid))
    await asyncio.sleep(0.01)
    admission.cancel()
    with pytest.raises(asyncio.CancelledError):
        await admission
    await billing.payments.settlements.drain(5)
    assert (await refusal(billing.payments, paid)).code == "payment_already_used"


async def test_a_wrong_opg_token_is_not_taken(billing: BillingHarness, chain: LocalChain) -> None:
    wallet = await chain.wallet(usdc=DOLLAR, opg=10**19, approve=True)
    opg_offer = (await billing.offer(order()))["accepts"][0]
    usdc = payload_of(await billing.pay(wallet, order(), token=USDC))
    assert opg_offer["asset"] == OPG.address
    error = await refusal(billing.payments, with_payment(order(), usdc | {"accepted": opg_offer}))
    assert error.code == "permit2_token_mismatch"


async def test_a_refusal_that_is_a_lie_charges_the_client_who_was_served(
    billing: BillingHarness, chain: LocalChain
) -> None:
    """The facilitator settles and says that it failed: the chain knows better, the paid answer is delivered."""
    payment = await billing.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())
    billing.facilitator.faults.set("settle", Denied())
    receipt = await payment.settle(bill())
    assert response(receipt)["success"]
    assert receipt.payment is not None
    assert receipt.payment["status"] == State.SETTLED.value
    assert await billing.balance() == 1230
