"""Every injected fault of the facilitator: what the caller sees, and what happened on the chain."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.tools.chain.conftest import CAP, Post
from tests.waiting import until_answer
from tools.chain.deployment import NETWORK, USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import (
    Body,
    Denied,
    Drop,
    Faults,
    NothingSettled,
    OtherAmount,
    OtherPayee,
    Pending,
    Slow,
    Status,
    Verdict,
    WholeAmount,
)
from tools.chain.local_chain import LocalChain
from tools.chain.payments import Payment, exact_offer
from tools.chain.wallet import Wallet


async def test_supported_says_what_is_offered(facilitator: LocalFacilitator, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{facilitator.url}/supported") as response:
        supported = await response.json()
    assert {(kind["scheme"], kind["network"]) for kind in supported["kinds"]} == {("exact", NETWORK), ("upto", NETWORK)}
    assert supported["extensions"] == ["eip2612GasSponsoring"]
    assert supported["signers"] == {"eip155:*": [facilitator.address]}


async def test_supported_throttled(facilitator: LocalFacilitator, http: aiohttp.ClientSession) -> None:
    facilitator.faults.set("supported", Status(429, retry_after=7), times=1)
    async with http.get(f"{facilitator.url}/supported") as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
    async with http.get(f"{facilitator.url}/supported") as response:
        assert response.status == 200


@pytest.mark.parametrize("text", ['{"kinds":[],"extensions":[],"signers":{}}', "<html>"])
async def test_supported_empty_or_garbage(
    facilitator: LocalFacilitator, http: aiohttp.ClientSession, text: str
) -> None:
    facilitator.faults.set("supported", Body(text))
    async with http.get(f"{facilitator.url}/supported") as response:
        assert (response.status, await response.text()) == (200, text)


@pytest.mark.parametrize(("valid", "amount"), [(True, 1), (False, CAP)])
async def test_verify_lies(
    facilitator: LocalFacilitator, post: Post, payment: Payment, valid: bool, amount: int
) -> None:
    assert (await post("/verify", payment.body(amount=amount)))["isValid"] is not valid
    facilitator.faults.set("verify", Verdict(valid))
    assert (await post("/verify", payment.body(amount=amount)))["isValid"] is valid


@pytest.mark.parametrize(("when", "moved"), [("before", 0), ("after", CAP)])
@pytest.mark.parametrize("kind", [Drop, Status])
async def test_settle_fails_before_or_after_settling(
    chain: LocalChain,
    facilitator: LocalFacilitator,
    http: aiohttp.ClientSession,
    payment: Payment,
    payee: str,
    kind: type[Drop | Status],
    when: Any,
    moved: int,
) -> None:
    facilitator.faults.set("settle", Drop(when) if kind is Drop else Status(500, when=when))
    try:
        async with http.post(f"{facilitator.url}/settle", json=payment.body()) as response:
            outcome: object = response.status
    except aiohttp.ClientConnectionError:
        outcome = Drop
    assert outcome == (Drop if kind is Drop else 500)
    assert await chain.balance(USDC, payee) == moved
    [call] = facilitator.called("settle")
    assert call.status == (None if kind is Drop else 500)


@pytest.mark.parametrize(("when", "moved"), [("before", 0), ("after", CAP)])
async def test_settle_slower_than_its_caller(
    chain: LocalChain,
    facilitator: LocalFacilitator,
    http: aiohttp.ClientSession,
    payment: Payment,
    payee: str,
    when: Any,
    moved: int,
) -> None:
    facilitator.faults.set("settle", Slow(30.0, when))
    impatient = aiohttp.ClientTimeout(total=1.0)
    with pytest.raises(TimeoutError):
        await http.post(f"{facilitator.url}/settle", json=payment.body(), timeout=impatient)
    await until_answer(lambda: chain.balance(USDC, payee), lambda balance: balance == moved)


async def test_settlement_whose_receipt_is_lost_is_pending_and_reconciles(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payment: Payment, payee: str
) -> None:
    facilitator.faults.set("settle", Pending(), times=1)
    pending = await post("/settle", payment.body(amount=12))
    assert (pending["success"], pending["errorReason"]) == (False, "settlement_pending")
    assert await chain.balance(USDC, payee) == 12
    settled = await post("/settle", payment.body(amount=12))
    assert (settled["success"], settled["transaction"]) == (True, pending["transaction"])
    assert await chain.balance(USDC, payee) == 12


async def test_settled_nothing(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payment: Payment, payee: str
) -> None:
    facilitator.faults.set("settle", NothingSettled())
    lie = await post("/settle", payment.body(amount=12))
    assert (lie["success"], lie["amount"]) == (True, "12")
    assert await chain.receipt(lie["transaction"]) is None
    assert await chain.balance(USDC, payee) == 0


@pytest.mark.parametrize(("fault", "reported"), [(OtherAmount(7), "12"), (OtherAmount(CAP, reported=CAP), str(CAP))])
async def test_settled_another_amount(
    chain: LocalChain,
    facilitator: LocalFacilitator,
    post: Post,
    payment: Payment,
    payee: str,
    fault: OtherAmount,
    reported: str,
) -> None:
    facilitator.faults.set("settle", fault)
    lie = await post("/settle", payment.body(amount=12))
    assert (lie["success"], lie["amount"]) == (True, reported)
    [transfer] = await chain.transfers(USDC, payee=payee)
    assert (transfer.amount, transfer.transaction) == (fault.amount, lie["transaction"])


async def test_paid_somebody_else(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payment: Payment, payee: str
) -> None:
    stranger = Wallet().address
    facilitator.faults.set("settle", OtherPayee(stranger))
    lie = await post("/settle", payment.body(amount=12))
    assert lie["success"]
    [transfer] = await chain.transfers(USDC, payee=stranger)
    assert (transfer.amount, transfer.transaction) == (12, lie["transaction"])
    assert await chain.balance(USDC, payee) == 0


async def test_denies_what_it_settled(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payment: Payment, payee: str
) -> None:
    facilitator.faults.set("settle", Denied())
    lie = await post("/settle", payment.body(amount=12))
    assert (lie["success"], lie["errorReason"], lie["transaction"]) == (False, "transaction_failed", "")
    assert await chain.balance(USDC, payee) == 12


async def test_settles_the_whole_amount_or_nothing(
    chain: LocalChain, facilitator: LocalFacilitator, post: Post, payment: Payment, payee: str
) -> None:
    facilitator.faults.set("settle", WholeAmount())
    refused = await post("/settle", payment.body(amount=12))
    assert (refused["success"], refused["errorReason"]) == (False, "permit2_amount_mismatch")
    assert await chain.balance(USDC, payee) == 0
    assert (await post("/settle", payment.body(amount=CAP)))["success"]
    assert await chain.balance(USDC, payee) == CAP


async def test_faults_work_together_in_order(
    chain: LocalChain, facilitator: LocalFacilitator, http: aiohttp.ClientSession, payment: Payment, payee: str
) -> None:
    facilitator.faults.set("settle", OtherAmount(7), Slow(0.1, "after"), Body("{", when="after"))
    async with asyncio.timeout(5):
        started = asyncio.get_running_loop().time()
        async with http.post(f"{facilitator.url}/settle", json=payment.body()) as response:
            assert await response.text() == "{"
        assert asyncio.get_running_loop().time() - started >= 0.1
    assert await chain.balance(USDC, payee) == 7


async def test_bodies_that_are_no_payment(facilitator: LocalFacilitator, http: aiohttp.ClientSession) -> None:
    offer = exact_offer(USDC, 1).model_dump(by_alias=True, mode="json")
    bodies: list[Any] = [None, [], {}, {"paymentPayload": {}, "paymentRequirements": offer}]
    for body in bodies:
        async with http.post(f"{facilitator.url}/verify", json=body) as response:
            assert response.status == 400
            assert "error" in await response.json()


def test_faults_last_for_so_many_calls_or_until_cleared() -> None:
    faults = Faults()
    faults.set("settle", OtherAmount(7), Slow(0.5, "after"), times=2)
    faults.set("verify", Verdict(valid=True))
    assert [faults.take("settle") for _ in range(3)] == [(OtherAmount(7), Slow(0.5, "after"))] * 2 + [()]
    assert [faults.take("verify") for _ in range(3)] == [(Verdict(valid=True),)] * 3
    faults.clear()
    assert faults.take("verify") == ()


async def test_calls_are_recorded(facilitator: LocalFacilitator, post: Post, payment: Payment) -> None:
    verdict = await post("/verify", payment.body())
    [call] = facilitator.calls
    assert (call.endpoint, call.body, call.status, call.answer) == ("verify", payment.body(), 200, verdict)
