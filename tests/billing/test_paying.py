"""Every way to pay, from the 402 to the balance on the chain, signed by x402's own client."""

from decimal import Decimal

import pytest

from gateway.billing.payment import Payment, Payments
from gateway.openai_api.errors import GatewayError
from tests.billing.harness import DOLLAR, BillingHarness, bill, order, payload_of, refusal, required, response
from tools.chain.deployment import OPG, USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Status
from tools.chain.local_chain import LocalChain


async def test_it_implements_the_contract(billing: BillingHarness, chain: LocalChain) -> None:
    payments: Payments = billing.payments
    assert payments.reasons() == []
    payment: Payment = await payments.admit(await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order()))
    assert payment.output_limit == 1000
    assert payment.timeout is not None
    assert 530 < payment.timeout < 541
    await payment.settle(bill())


async def test_upto_in_opg_charges_the_cost_at_the_frozen_rate(billing: BillingHarness, chain: LocalChain) -> None:
    wallet = await chain.wallet(opg=10**19, approve=True)
    payment = await billing.admit(wallet, order(), token=OPG)
    receipt = await payment.settle(bill("0.0012345"))
    due = 12_345_000_000_000_000
    assert await billing.balance(OPG) == due
    assert receipt.payment == {
        "scheme": "upto",
        "network": "eip155:8453",
        "asset": OPG.address,
        "payer": wallet.address,
        "amount": str(due),
        "cost_usd": "0.0012345",
        "rate": "0.10",
        "status": "settled",
        "transaction": receipt.payment["transaction"] if receipt.payment else "",
        "price_basis": "usage",
    }
    told = response(receipt)
    assert (told["success"], told["amount"], told["payer"]) == (True, str(due), wallet.address)
    transfers = await chain.transfers(OPG, payer=wallet.address, payee=billing.payee)
    assert [transfer.transaction for transfer in transfers] == [told["transaction"]]


async def test_upto_in_usdc_rounds_up_once(billing: BillingHarness, chain: LocalChain) -> None:
    payment = await billing.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())
    await payment.settle(bill("0.00000001"))
    assert await billing.balance() == 1


async def test_a_first_time_payer_needs_no_approval(billing: BillingHarness, chain: LocalChain) -> None:
    wallet = await chain.wallet(opg=10**19)
    paid = await billing.pay(wallet, order(), token=OPG, sponsored=True)
    assert "eip2612GasSponsoring" in payload_of(paid)["extensions"]
    payment = await billing.payments.admit(paid)
    receipt = await payment.settle(bill("0.001"))
    assert receipt.payment is not None
    assert receipt.payment["status"] == "settled"
    assert await billing.balance(OPG) == 10**16


@pytest.mark.parametrize("method", ["eip3009", "permit2"])
async def test_exact_charges_what_was_agreed_after_the_work(
    billing: BillingHarness, chain: LocalChain, method: str
) -> None:
    wallet = await chain.wallet(usdc=DOLLAR, approve=method == "permit2")
    payment = await billing.admit(wallet, order(), scheme="exact", method=method)
    assert await billing.balance() == 0
    receipt = await payment.settle(bill("0.001"))
    assert receipt.payment is not None
    assert receipt.payment["price_basis"] == "maximum"
    assert await billing.balance() == int(receipt.payment["amount"]) > 1000


async def test_exact_of_a_stream_is_settled_before_the_work(billing: BillingHarness, chain: LocalChain) -> None:
    wallet = await chain.wallet(usdc=DOLLAR)
    payment = await billing.admit(wallet, order(stream=True), scheme="exact")
    paid = await billing.balance()
    assert paid > 0
    assert response_of(payment.headers)["amount"] == str(paid)
    assert payment.timeout is None
    assert billing.facilitator.called("verify") == []
    receipt = await payment.settle(bill("0.001"))
    assert receipt.payment is not None
    assert (receipt.payment["status"], receipt.payment["amount"]) == ("settled", str(paid))
    assert await billing.balance() == paid


@pytest.mark.parametrize("verify", ["answers", "is away"])
async def test_credit_pays_for_a_payer_that_has_nothing_else_left(
    billing: BillingHarness, chain: LocalChain, facilitator: LocalFacilitator, verify: str
) -> None:
    request = order(stream=True)
    price = int(next(each for each in (await billing.offer(request))["accepts"] if each["scheme"] == "exact")["amount"])
    wallet = await chain.wallet(usdc=price)
    await (await billing.admit(wallet, request, scheme="exact")).release("upstream_failed")
    await billing.payments.settlements.drain(5)
    assert await chain.balance(USDC, wallet.address) == 0
    if verify == "is away":
        facilitator.faults.set("verify", Status(500))
    receipt = await (await billing.admit(wallet, request, scheme="exact")).settle(bill())
    assert receipt.payment is not None
    assert (receipt.payment["status"], receipt.payment["amount"]) == ("waived", "0")
    assert await billing.balance() == price


def response_of(headers: object) -> dict[str, object]:
    from gateway.billing.payment import Receipt

    assert isinstance(headers, dict)
    return response(Receipt(headers=headers))


async def test_without_payment_the_offer_is_quoted_from_the_request(billing: BillingHarness) -> None:
    error = await refusal(billing.payments, order())
    assert (error.status, error.code) == (402, "payment_required")
    assert error.headers["Cache-Control"] == "no-store"
    offers = required(error)["accepts"]
    # 1000 prompt tokens at 2.00 and 1000 output tokens at 8.00 USD per million, or its replacement's if that is dearer.
    assert Decimal(offers[1]["amount"]) / DOLLAR >= Decimal("0.01")
    assert offers[0]["asset"] == OPG.address
    assert Decimal(offers[0]["amount"]) == Decimal(offers[1]["amount"]) * 10**13


async def test_a_version_1_header_is_told_what_to_do(billing: BillingHarness) -> None:
    error = await refusal(billing.payments, order(headers={"x-payment": "eyJ9"}))
    assert error.status == 402
    assert "x402 version 1 is not supported: pay with a PAYMENT-SIGNATURE header" in required(error)["error"]


async def test_a_malformed_header_gets_no_offer(billing: BillingHarness) -> None:
    error = await refusal(billing.payments, order(headers={"payment-signature": "nonsense!"}))
    assert error.status == 400
    assert "PAYMENT-REQUIRED" not in error.headers


async def test_an_unread_body_is_quoted_at_the_maximum(billing: BillingHarness) -> None:
    error = billing.payments.challenge("https://gw.example/v1/chat/completions")
    assert isinstance(error, GatewayError)
    assert {offer["amount"] for offer in required(error)["accepts"] if offer["asset"] == USDC.address} == {"1000000"}


async def test_an_answer_without_cost_is_free_and_uses_the_payment_up(
    billing: BillingHarness, chain: LocalChain
) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    receipt = await (await billing.payments.admit(paid)).settle(bill("0"))
    assert receipt.payment is not None
    assert (receipt.payment["status"], receipt.payment["amount"]) == ("waived", "0")
    assert billing.facilitator.called("settle") == []
    error = await refusal(billing.payments, paid)
    assert (error.status, error.code) == (402, "payment_already_used")


async def test_a_dearer_answer_than_its_cap_charges_the_cap(billing: BillingHarness, chain: LocalChain) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    cap = int(payload_of(paid)["accepted"]["amount"])
    await (await billing.payments.admit(paid)).settle(bill("0.9"))
    assert await billing.balance() == cap
