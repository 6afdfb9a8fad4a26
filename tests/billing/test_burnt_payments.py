"""Payers who withdraw what a verified payment needs, or have another transfer pass for it (facts/x402.md 4 row 9)."""

import asyncio
from functools import partial
from pathlib import Path

import msgspec
import pytest

from gateway.billing.evm import values as evm
from gateway.openai_api.errors import GatewayError
from tests.billing.harness import (
    DOLLAR,
    BillingHarness,
    bill,
    open_harness,
    order,
    payload_of,
    quick,
    refusal,
    required,
    response,
    with_payment,
)
from tests.waiting import until_answer
from tools.chain.contract import Contract
from tools.chain.deployment import UPTO_PERMIT2_PROXY, USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Slow, WholeAmount
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet


async def test_a_payment_burnt_after_verification_leads_to_upfront_only(
    billing: BillingHarness, chain: LocalChain
) -> None:
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    paid = await billing.pay(wallet, order())
    payment = await billing.payments.admit(paid)
    nonce = int(payload_of(paid)["payload"]["permit2Authorization"]["nonce"])
    await chain.invalidate_permit2_nonce(wallet, nonce)
    with pytest.raises(GatewayError) as withheld:
        await payment.settle(bill())
    assert withheld.value.status == 402
    assert withheld.value.should_retry is False
    assert "PAYMENT-REQUIRED" not in withheld.value.headers
    assert response(withheld.value)["success"] is False
    debtor = await refusal(billing.payments, await billing.pay(wallet, order()))
    assert debtor.code == "upfront_required"
    offers = required(debtor)["accepts"]
    assert {offer["extra"]["paymentFlow"] for offer in offers} == {"upfront"}
    upfront = await billing.admit(wallet, order(), scheme="exact", offer=required(debtor))
    await upfront.settle(bill())
    trusted = await billing.admit(wallet, order())
    await trusted.settle(bill())


@pytest.mark.parametrize("sponsored", [False, True])
async def test_an_allowance_withdrawn_after_verification_leads_to_upfront_only(
    billing: BillingHarness, chain: LocalChain, sponsored: bool
) -> None:
    """Though it is restored as soon as the settlement has failed; a permit that comes to nothing does not excuse it."""
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    paid = await billing.pay(wallet, order(), sponsored=sponsored)
    if sponsored:
        payload = payload_of(await billing.pay(await chain.wallet(usdc=DOLLAR), order(), sponsored=True))
        stray = payload["extensions"]["eip2612GasSponsoring"]
        stray["info"] |= {"from": wallet.address, "nonce": str(2**255)}
        paid = with_payment(paid, payload_of(paid) | {"extensions": {"eip2612GasSponsoring": stray}})
    payment = await billing.payments.admit(paid)
    await chain.approve_permit2(wallet, USDC, 0)
    billing.facilitator.faults.set("settle", Slow(0.5, "after"), times=1)
    count = partial(chain.rpc, "eth_getTransactionCount", billing.facilitator.address, "latest")
    before = await count()
    settling = asyncio.create_task(payment.settle(bill()))
    await until_answer(count, lambda now: now != before)
    await chain.approve_permit2(wallet, USDC)
    with pytest.raises(GatewayError) as withheld:
        await settling
    assert (withheld.value.status, withheld.value.code) == (402, "permit2_allowance_required")
    assert (await refusal(billing.payments, await billing.pay(wallet, order()))).code == "upfront_required"


async def test_a_permit_that_could_still_be_used_is_not_held_against_its_payer(
    billing: BillingHarness, chain: LocalChain
) -> None:
    """Its settlement failed for another reason, and left the allowance as it was before."""
    wallet = await chain.wallet(usdc=DOLLAR)
    payment = await billing.admit(wallet, order(), sponsored=True)
    broken, upto = Contract.load("Multicall3"), Contract.load("UptoPermit2Proxy")
    await chain.rpc("anvil_setCode", UPTO_PERMIT2_PROXY, f"0x{broken.code.hex()}")
    try:
        with pytest.raises(GatewayError) as withheld:
            await payment.settle(bill())
    finally:
        await chain.rpc("anvil_setCode", UPTO_PERMIT2_PROXY, f"0x{upto.code.hex()}")
    assert withheld.value.code == "invalid_upto_evm_transaction_failed"
    await (await billing.admit(wallet, order(), sponsored=True)).settle(bill())


@pytest.mark.parametrize("scheme", ["upto", "exact"])
@pytest.mark.parametrize(
    ("contract", "code"),
    [(True, "0x60006000fd"), (True, "0x"), (False, "0x60006000fd")],
    ids=["rejects", "gone", "delegated"],
)
async def test_a_contract_that_withdraws_its_signature_leads_to_upfront_only(
    billing: BillingHarness, chain: LocalChain, contract: bool, code: str, scheme: str
) -> None:
    """Also a key's own account, which delegates to a contract meanwhile (EIP-7702)."""
    wallet: Wallet = await (chain.contract_wallet if contract else chain.wallet)(usdc=DOLLAR, approve=True)
    usual = await chain.rpc("eth_getCode", wallet.address, "latest")
    payment = await billing.admit(wallet, order(), scheme=scheme)
    await chain.rpc("anvil_setCode", wallet.address, code)
    with pytest.raises(GatewayError) as withheld:
        await payment.settle(bill())
    assert (withheld.value.status, withheld.value.code) == (402, "contract_account_refused")
    await chain.rpc("anvil_setCode", wallet.address, usual)
    assert (await refusal(billing.payments, await billing.pay(wallet, order()))).code == "upfront_required"


async def test_a_contract_that_reverts_with_an_error_of_amounts_ends_upto_for_nobody(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    """Without a node, its reason is all that there is to go by."""
    async with open_harness(chain, facilitator, journal, rpc=False) as billing:
        payment = await billing.admit(await chain.contract_wallet(usdc=DOLLAR, approve=True), order())
        facilitator.faults.set("settle", WholeAmount(), times=1)
        with pytest.raises(GatewayError) as withheld:
            await payment.settle(bill())
        assert withheld.value.code == "permit2_amount_mismatch"
        await (await billing.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())).settle(bill())


async def test_a_debtor_gets_no_empty_list_of_offers_where_nothing_is_settled_upfront(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    definitions = quick()
    upto = tuple(offer for offer in definitions.offers if offer.scheme == "upto")
    definitions = msgspec.structs.replace(definitions, offers=upto)
    async with open_harness(chain, facilitator, journal, definitions=definitions) as billing:
        wallet = await chain.wallet(usdc=DOLLAR, approve=True)
        paid = await billing.pay(wallet, order())
        payment = await billing.payments.admit(paid)
        await chain.invalidate_permit2_nonce(wallet, int(payload_of(paid)["payload"]["permit2Authorization"]["nonce"]))
        with pytest.raises(GatewayError):
            await payment.settle(bill())
        debtor = await refusal(billing.payments, await billing.pay(wallet, order()))
        assert (debtor.status, debtor.code, debtor.headers) == (402, "upfront_required", {"Cache-Control": "no-store"})


@pytest.mark.parametrize("scheme", ["upto", "exact"])
async def test_an_earlier_payment_does_not_stand_for_a_burnt_one(
    billing: BillingHarness, chain: LocalChain, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """Its nonce is a word that the earlier settlement's call has for another reason: the payer's own address."""
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    await (await billing.admit(wallet, order(), scheme=scheme)).settle(bill())
    charged = await billing.balance()
    nonce = bytes(12) + bytes.fromhex(wallet.address[2:])
    monkeypatch.setattr("x402.mechanisms.evm.upto.client.create_permit2_nonce", lambda: str(int.from_bytes(nonce)))
    monkeypatch.setattr("x402.mechanisms.evm.exact.client.create_nonce", lambda: f"0x{nonce.hex()}")
    payment = await billing.admit(wallet, order(), scheme=scheme)
    if scheme == "upto":
        await chain.invalidate_permit2_nonce(wallet, int.from_bytes(nonce))
    else:
        await chain.cancel_authorization(wallet, USDC, nonce)
    with pytest.raises(GatewayError) as withheld:
        await payment.settle(bill())
    assert (withheld.value.status, withheld.value.code) == (402, "nonce_spent_elsewhere")
    assert await billing.balance() == charged
    monkeypatch.undo()
    assert (await refusal(billing.payments, await billing.pay(wallet, order()))).code == "upfront_required"


async def puppet(chain: LocalChain, wallet: Wallet) -> str:
    """A contract that calls what the wallet's owner wants."""
    address = Wallet().address
    await chain.rpc("anvil_setCode", address, f"0x{Contract.load('ContractAccount').code.hex()}")
    await chain.send(wallet, "ContractAccount", address, "claim")
    return address


async def test_a_unit_in_a_call_that_repeats_what_was_signed_does_not_stand_for_a_burnt_payment(
    billing: BillingHarness, chain: LocalChain
) -> None:
    wallet = await chain.wallet(usdc=DOLLAR, approve=True)
    caller = await puppet(chain, wallet)
    paid = await billing.pay(wallet, order())
    payment = await billing.payments.admit(paid)
    signed = payload_of(paid)["payload"]["permit2Authorization"]
    amount, nonce, deadline = int(signed["permitted"]["amount"]), int(signed["nonce"]), int(signed["deadline"])
    unit = Contract.load("Token").encode("transferFrom", wallet.address, billing.payee, 1)
    repeated = unit + evm.words((evm.address(USDC.address), amount, nonce, deadline))
    await chain.send(wallet, "Token", USDC.address, "approve", caller, 1)
    await chain.send(wallet, "ContractAccount", caller, "execute", USDC.address, repeated)
    await chain.invalidate_permit2_nonce(wallet, nonce)
    assert await billing.balance() == 1
    with pytest.raises(GatewayError) as withheld:
        await payment.settle(bill())
    assert (withheld.value.status, withheld.value.code) == (402, "nonce_spent_elsewhere")
    assert (await refusal(billing.payments, await billing.pay(wallet, order()))).code == "upfront_required"


async def test_one_transfer_does_not_stand_for_two_burnt_payments(billing: BillingHarness, chain: LocalChain) -> None:
    """Its call repeats what was signed for both."""
    wallet = await chain.wallet(usdc=DOLLAR)
    caller = await puppet(chain, wallet)
    orders = [await billing.pay(wallet, order(), scheme="exact") for _ in range(2)]
    payments = [await billing.payments.admit(paid) for paid in orders]
    signed = [payload_of(paid)["payload"]["authorization"] for paid in orders]
    price = int(signed[0]["value"])
    call = Contract.load("Token").encode("transferFrom", wallet.address, billing.payee, price)
    for each in signed:
        times = int(each["validAfter"]), int(each["validBefore"])
        call += evm.words(
            (evm.address(each["from"]), evm.address(each["to"]), price, *times, bytes.fromhex(each["nonce"][2:]))
        )
    await chain.send(wallet, "Token", USDC.address, "approve", caller, price)
    await chain.send(wallet, "ContractAccount", caller, "execute", USDC.address, call)
    for each in signed:
        await chain.cancel_authorization(wallet, USDC, bytes.fromhex(each["nonce"][2:]))
    ended = await asyncio.gather(*(payment.settle(bill()) for payment in payments), return_exceptions=True)
    assert sorted(getattr(outcome, "code", "served") for outcome in ended) == ["nonce_spent_elsewhere", "served"]
    assert await billing.balance() == price
    assert (await refusal(billing.payments, await billing.pay(wallet, order()))).code == "upfront_required"
