"""A facilitator, RPC endpoint or price source that is away, slow or lies (facts/x402.md 1.11, 4)."""

import asyncio
import json
import logging
from decimal import Decimal
from typing import Any, Literal

import pytest

from gateway.billing.journal import State
from gateway.telemetry.standard_error import StandardError
from tests.money.conftest import Define, OpenShop
from tests.money.paid_gateway import PaidGateway, chat, decode_header, payment_of
from tests.waiting import until, until_answer
from tools.chain.deployment import OPG, USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import (
    Body,
    Denied,
    Drop,
    NothingSettled,
    OtherAmount,
    Pending,
    Slow,
    Status,
    Verdict,
    WholeAmount,
)
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.demo.price_source import PriceSource

NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize("fault", [Drop(), Status(500), Status(429), Slow(2.0), Drop("after")], ids=repr)
async def test_away_before_the_work(open_shop: OpenShop, define: Define, fault: Drop | Status | Slow) -> None:
    """503 without an offer, nothing is served, and the same payment is good once the facilitator is back."""
    if isinstance(fault, Slow):
        define(facilitator={"verify_seconds": 0.5})
    shop, request = await open_shop(), chat()
    signature = await shop.sign(await shop.wallet(), request)
    shop.facilitator.faults.set("verify", fault)
    response = await shop.post(request, signature)
    assert response.status == 503
    assert response.headers["Retry-After"]
    assert "PAYMENT-REQUIRED" not in response.headers
    assert not shop.fleet.openai.requests
    if not isinstance(fault, Slow):  # half a second is little on a busy machine
        shop.facilitator.faults.clear()
        assert (await payment_of(await shop.post(request, signature)))["status"] == "settled"
        assert len(await shop.paid()) == 1


async def test_a_negative_verdict_is_a_402_with_an_offer(shop: PaidGateway) -> None:
    shop.facilitator.faults.set("verify", Verdict(valid=False))
    response = await shop.pay(await shop.wallet(), chat())
    assert response.status == 402
    assert decode_header(response.headers["PAYMENT-REQUIRED"])["accepts"]
    assert not shop.fleet.openai.requests


@pytest.mark.parametrize("endpoint", ["verify", "settle"])
async def test_a_facilitator_of_many_words_leaves_headers_that_clients_read(
    shop: PaidGateway, endpoint: Literal["verify", "settle"]
) -> None:
    """Facts 1.9 row 5. Some put a whole stack trace into their reasons; aiohttp's client reads 8190 bytes."""
    said = {"isValid": False, "invalidReason": "r" * 9000, "invalidMessage": "m" * 9000}
    said |= {"success": False, "errorReason": "r" * 9000, "transaction": ""}
    wallet = await shop.wallet()
    shop.facilitator.faults.set(endpoint, Body(json.dumps(said)))
    response = await shop.pay(wallet, chat())
    assert response.status == 402
    if endpoint == "verify":
        assert len(decode_header(response.headers["PAYMENT-REQUIRED"])["accepts"]) == 4
    else:
        assert decode_header(response.headers["PAYMENT-RESPONSE"])["success"] is False


@pytest.mark.parametrize(("scheme", "stream"), [("upto", False), ("upto", True), ("exact", False)])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_lost_while_settling(shop: PaidGateway, when: str, scheme: str, stream: bool) -> None:
    """Row 6. What cannot be known at once is never a new 402; the chain decides, and pays once."""
    shop.facilitator.faults.set("settle", Drop("before" if when == "before" else "after"), times=1)
    response = await shop.pay(await shop.wallet(), chat(stream=stream), scheme=scheme)
    payment = await payment_of(response)
    assert payment["status"] in ("pending", "settled")
    if not stream:
        told = decode_header(response.headers["PAYMENT-RESPONSE"])
        assert told["success"] or told["errorReason"] == "settlement_pending"
        assert "PAYMENT-REQUIRED" not in response.headers
    [entry] = await shop.ended()
    assert entry.state is State.SETTLED
    [transfer] = await shop.paid()
    assert transfer.amount == entry.settled_amount == int(payment["amount"])


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_upfront_payment_of_unknown_outcome_is_served_or_credited(shop: PaidGateway, when: str) -> None:
    """Rows 6, 8, 23. Served if the chain tells in time; otherwise, if it was paid, the next answer is paid by it."""
    shop.facilitator.faults.set("settle", Drop("before" if when == "before" else "after"), times=1)
    wallet, request = await shop.wallet(), chat(stream=True)
    response = await shop.pay(wallet, request, scheme="exact")
    if response.status == 200:
        assert (await payment_of(response))["status"] == "settled"
        assert len(await shop.paid()) == 1
        return
    assert (response.status, response.headers["x-should-retry"]) == (503, "false")
    assert "PAYMENT-REQUIRED" not in response.headers
    assert not shop.fleet.openai.requests
    await shop.ended()
    paid = len(await shop.paid())
    payment = await payment_of(await shop.pay(wallet, request, scheme="exact"))
    assert payment["status"] == ("waived" if paid else "settled")
    assert len(await shop.paid()) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_pending_settlements_deliver(shop: PaidGateway, stream: bool) -> None:
    """``settlement_pending`` is no failure: the answer goes out, and the journal follows the transaction."""
    shop.facilitator.faults.set("settle", Pending(), times=1)
    payment = await payment_of(await shop.pay(await shop.wallet(), chat(stream=stream)))
    assert payment["status"] in ("pending", "settled")
    [entry] = await shop.ended()
    assert entry.state is State.SETTLED
    assert [transfer.amount for transfer in await shop.paid()] == [entry.settled_amount]


async def test_a_settlement_that_takes_long_is_pending(open_shop: OpenShop, define: Define) -> None:
    """No answer is held longer than its client has patience for."""
    define(settlement={"hold_seconds": 0.5})
    shop = await open_shop()
    shop.facilitator.faults.set("settle", Slow(1.0, "after"))
    response = await shop.pay(await shop.wallet(), chat())
    assert (await payment_of(response))["status"] == "pending"
    assert decode_header(response.headers["PAYMENT-RESPONSE"])["errorReason"] == "settlement_pending"
    [entry] = await shop.ended()
    assert (entry.state, len(await shop.paid())) == (State.SETTLED, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_request_log_names_the_payment_and_its_status(
    open_shop: OpenShop,
    define: Define,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stream: bool,
) -> None:
    """By the id that later lines about the same payment have; an unpaid request has neither."""
    define(settlement={"hold_seconds": 2.0})
    caplog.set_level(logging.INFO, "gateway.requests")
    logged: list[bytes] = []
    monkeypatch.setattr(StandardError, "write", lambda _, lines: logged.append(lines))
    shop, request = await open_shop(), chat(stream=stream)
    shop.facilitator.faults.set("settle", Slow(4.0, "after"), times=1)
    await shop.pay(await shop.wallet(), request)
    [pending] = await shop.ended()
    await shop.pay(await shop.wallet(), request)
    [settled] = [entry for entry in await shop.ended() if entry.id != pending.id]
    lines = [json.loads(line) for line in b"".join(logged).splitlines()]
    assert [(line.get("payment"), line.get("payment_status")) for line in lines if "path" in line] == [
        (None, None),
        (pending.id, "pending"),
        (None, None),
        (settled.id, "settled"),
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_payer_that_takes_its_money_back_after_verification(shop: PaidGateway, stream: bool) -> None:
    """Row 9. A complete answer is withheld, a stream's last event too; from then on it pays upfront."""
    wallet, request = await shop.wallet(usdc=10**5, opg=0), chat(stream=stream)
    signature = await shop.sign(wallet, request)
    shop.facilitator.faults.set("settle", Slow(0.4))
    asking = asyncio.create_task(shop.post(request, signature))
    await until(lambda: shop.facilitator.called("settle"))
    await shop.chain.transfer(wallet, USDC, Wallet().address, 10**5)
    if stream:
        with pytest.raises(Exception, match="payload"):
            await asking
    else:
        response = await asking
        assert response.status == 402
        assert "PAYMENT-REQUIRED" not in response.headers
        assert decode_header(response.headers["PAYMENT-RESPONSE"])["success"] is False
        assert b"choices" not in await response.read()
    [entry] = await shop.ended()
    assert entry.state is State.FAILED
    assert await shop.paid() == []
    shop.facilitator.faults.clear()
    await shop.chain.mint(wallet, USDC, 10**6)
    debtor = await shop.post(request, await shop.sign(wallet, request))
    assert (debtor.status, (await debtor.json())["error"]["code"]) == (402, "upfront_required")
    offers = decode_header(debtor.headers["PAYMENT-REQUIRED"])["accepts"]
    assert {offer["extra"].get("paymentFlow") for offer in offers} == {"upfront"}


@pytest.mark.parametrize("lie", [Denied(), OtherAmount(7), NothingSettled()], ids=repr)
async def test_lies_are_found_out_on_the_chain(shop: PaidGateway, lie: Denied | OtherAmount | NothingSettled) -> None:
    """Rows 20, 25. The journal holds what moved, whatever the facilitator says of it."""
    shop.facilitator.faults.set("settle", lie, times=1)
    payment = await payment_of(await shop.pay(await shop.wallet(), chat()))
    assert payment["status"] in ("pending", "settled")
    [entry] = await shop.ended()
    [transfer] = await shop.paid()
    assert (entry.state, entry.settled_amount, entry.transaction) == (
        State.SETTLED,
        transfer.amount,
        transfer.transaction,
    )
    if payment["status"] == "settled":
        assert payment["amount"] == str(transfer.amount)


async def test_no_price_leaves_usdc(open_shop: OpenShop, prices: PriceSource) -> None:
    """Row 13. Never a constant in the price's stead."""
    prices.usd = None
    shop = await open_shop()
    offers = (await shop.required(chat()))["accepts"]
    assert {offer["asset"] for offer in offers} == {USDC.address}
    assert (await payment_of(await shop.pay(await shop.wallet(), chat())))["status"] == "settled"


@pytest.mark.parametrize("usd", ["0.0000001", "9999"])
async def test_a_price_beyond_belief_leaves_usdc(open_shop: OpenShop, prices: PriceSource, usd: str) -> None:
    """Row 13."""
    prices.usd = Decimal(usd)
    offers = (await (await open_shop()).required(chat()))["accepts"]
    assert OPG.address not in {offer["asset"] for offer in offers}


async def test_without_a_facilitator_nothing_is_served(open_shop: OpenShop, facilitator: LocalFacilitator) -> None:
    """Row 22. Paid routes fail closed and say why; they open by themselves once the facilitator answers."""
    facilitator.faults.set("supported", Status(500))
    shop = await open_shop()
    response = await shop.post(chat())
    assert (response.status, (await response.json())["error"]["code"]) == (503, "payments_unavailable")
    assert response.headers["Retry-After"]
    async with shop.gateway.session.get(f"{shop.url}/health/ready") as ready:
        assert ready.status == 503
        assert any("facilitator" in reason for reason in (await ready.json())["reasons"])
    assert not shop.fleet.openai.requests
    facilitator.faults.clear()
    await until_answer(lambda: shop.post(chat()), lambda answer: answer.status == 402)


@pytest.mark.parametrize(
    "missing", [{"EVM_PAYMENT_ADDRESS": ""}, {"FACILITATOR_URL": ""}, {"FACILITATOR_URL": NOWHERE}]
)
async def test_what_is_not_configured_is_not_served(open_shop: OpenShop, missing: Any) -> None:
    """Row 22."""
    shop = await open_shop(**missing)
    for payment in (None, "e30="):
        assert (await shop.post(chat(), payment)).status == 503
    assert not shop.fleet.openai.requests


async def test_redirects_of_the_facilitator_are_not_followed(
    open_shop: OpenShop, facilitator: LocalFacilitator
) -> None:
    """Row 22. A facilitator that sends us elsewhere is away."""
    facilitator.faults.set("supported", Status(302))
    assert (await (await open_shop()).post(chat())).status == 503


async def test_two_operators_need_no_change_of_code(
    open_shop: OpenShop, chain: LocalChain, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Another payee and another facilitator are environment only."""
    key = Wallet()
    await chain.set_ether(key.address, 10**18)
    async with LocalFacilitator(chain.rpc_url, key=key.key) as other:
        journal = tmp_path_factory.mktemp("other") / "journal.sqlite3"
        theirs = await open_shop(journal=journal, FACILITATOR_URL=other.url)
        ours = await open_shop()
        for shop, facilitator in ((theirs, other), (ours, ours.facilitator)):
            offer = (await shop.required(chat()))["accepts"][0]
            assert offer["payTo"] == shop.payee
            assert offer["extra"]["facilitatorAddress"] == facilitator.address
            payment = await payment_of(await shop.pay(await shop.wallet(), chat()))
            assert await shop.balance() == int(payment["amount"])
            assert len(facilitator.called("settle")) == 1


@pytest.mark.parametrize("partial", [True, False])
async def test_upto_waits_for_its_trial(
    open_shop: OpenShop, chain: LocalChain, facilitator: LocalFacilitator, partial: bool
) -> None:
    """Row 21. One unit of the operator's own payer tells before anybody's answer is at stake."""
    if not partial:
        facilitator.faults.set("settle", WholeAmount())
    payer = await chain.wallet(opg=2, approve=True)
    shop = await open_shop(GATEWAY_UPTO_TRIAL_KEY=payer.key)
    offers = (await shop.required(chat()))["accepts"]
    assert {offer["scheme"] for offer in offers} == ({"upto", "exact"} if partial else {"exact"})
    assert await shop.balance(OPG) == partial
    assert (await payment_of(await shop.pay(await shop.wallet(), chat(), scheme="exact")))["status"] == "settled"
