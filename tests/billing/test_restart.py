"""A gateway that dies between answer and settlement, and the next one on its journal (facts/x402.md 4 row 27)."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.billing.journal import BEFORE_SETTLING, Entry, IllegalTransitionError, State, decode_entry
from gateway.billing.payment import Order
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import StoreUnavailableError
from gateway.openai_api.errors import GatewayError
from tests.billing.entries import FUNDED, entry
from tests.billing.harness import DOLLAR, BillingHarness, bill, open_harness, order, quick, refusal
from tests.waiting import until, until_answer
from tools.chain.deployment import USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Drop, Slow
from tools.chain.local_chain import LocalChain

REPOSITORY = Path(__file__).parents[2]


def told(billing: BillingHarness, journal: Path, paid: Order, *, until: str) -> dict[str, Any]:
    """What a gateway like ``billing`` is told that serves ``paid`` and waits ``until`` it is killed."""
    return {
        "payee": billing.payee,
        "facilitator_url": billing.settings.facilitator_url,
        "journal": str(journal),
        "mac_key": billing.settings.mac_key.hex(),
        "rpc_url": billing.settings.rpc_url,
        "price_url": billing.settings.price_url,
        "header": paid.headers["payment-signature"],
        "until": until,
    }


def run_and_kill(told: dict[str, Any]) -> str:
    """The line that the gateway prints before it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.billing.killed_gateway"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


async def test_a_quote_outlives_the_gateway_that_gave_it(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    async with open_harness(chain, facilitator, journal, mac_key=b"1" * 32) as first:
        paid = await first.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    async with open_harness(chain, facilitator, journal, payee=first.payee, mac_key=b"2" * 32) as second:
        receipt = await (await second.payments.admit(paid)).settle(bill())
        assert receipt.payment is not None
        assert receipt.payment["status"] == "settled"


async def until_used(billing: BillingHarness, paid: Order) -> None:
    await until_answer(lambda: refusal(billing.payments, paid), lambda error: error.code == "payment_already_used")


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_killed_between_answer_and_settlement_where_the_chain_cannot_be_read(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, lost: str
) -> None:
    """The next gateway settles it, exactly once, though it cannot prove whether the facilitator had done so already."""
    async with open_harness(chain, facilitator, journal, rpc=False) as billing:
        paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
        facilitator.faults.set("settle", Drop("before") if lost == "before" else Drop("after"))
        line = await asyncio.to_thread(run_and_kill, told(billing, journal, paid, until="settling"))
        assert json.loads(line)["status"] in ("pending", "settled")
        facilitator.faults.clear()
        assert (await refusal(billing.payments, paid)).status in (402, 409), "never served again"
        await until_answer(billing.balance, lambda balance: balance == 1230)
        await asyncio.sleep(0.7)
        assert await billing.balance() == 1230
        assert len(await chain.transfers(USDC, payee=billing.payee)) == 1


async def test_killed_while_answering_charges_nothing_and_stays_used(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    async with open_harness(chain, facilitator, journal) as billing:
        paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
        assert await asyncio.to_thread(run_and_kill, told(billing, journal, paid, until="serving")) == "serving"
        assert (await refusal(billing.payments, paid)).status == 409
        await until_used(billing, paid)
        assert facilitator.called("settle") == []


async def test_killed_while_answering_credits_what_was_paid_upfront(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    async with open_harness(chain, facilitator, journal) as billing:
        wallet = await chain.wallet(usdc=DOLLAR)
        paid = await billing.pay(wallet, order(stream=True), scheme="exact")
        assert await asyncio.to_thread(run_and_kill, told(billing, journal, paid, until="serving")) == "serving"
        price = await billing.balance()
        assert price > 0
        await until_used(billing, paid)
        covered = await billing.admit(wallet, order(stream=True), scheme="exact")
        receipt = await covered.settle(bill())
        assert receipt.payment is not None
        assert receipt.payment["status"] == "waived"
        assert await billing.balance() == price


@pytest.mark.parametrize("when", ["taken", "released"])
async def test_credit_outlives_a_journal_that_fails_between_two_steps(
    billing: BillingHarness, chain: LocalChain, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Once after the credit was taken, before the work; once at the work's end without an answer."""
    wallet = await chain.wallet(usdc=DOLLAR)
    store = billing.payments._store
    move, refusals = store.move, [StoreUnavailableError("away")]

    async def refuse(known: Entry, *to: State, **changes: Any) -> Entry:
        if refusals and (State.SERVING if when == "taken" else State.SERVED) in to:
            raise refusals.pop()
        return await move(known, *to, **changes)

    monkeypatch.setattr(store, "move", refuse)
    first = await billing.admit(wallet, order(stream=True), scheme="exact")
    await first.release("upstream_failed")
    await billing.payments.settlements.drain(5)
    price = await billing.balance()
    again = await billing.pay(wallet, order(stream=True), scheme="exact")
    if when == "taken":
        assert (await refusal(billing.payments, again)).status == 503
    second = await billing.payments.admit(again)
    receipt = await second.settle(bill())
    assert receipt.payment is not None
    assert receipt.payment["status"] == "waived"
    assert await billing.balance() == price
    assert refusals == []


async def test_an_upfront_payment_that_another_worker_has_credited_buys_no_answer_besides(
    billing: BillingHarness, chain: LocalChain
) -> None:
    """As one that took this worker for lost."""
    payment = await billing.admit(await chain.wallet(usdc=DOLLAR), order(stream=True), scheme="exact")
    await billing.payments._store.move(payment._entry, State.SERVED, credited=payment._entry.cap)
    with pytest.raises(GatewayError) as raised:
        await payment.settle(bill())
    assert raised.value.code == "payment_closed"
    assert not raised.value.headers.get("PAYMENT-REQUIRED")


async def test_closing_settles_what_is_under_way(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    definitions = quick(settlement={"hold_seconds": 0.1}, facilitator={"settle_seconds": 5.0})
    async with open_harness(chain, facilitator, journal, definitions=definitions, drain=10.0) as billing:
        payment = await billing.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())
        facilitator.faults.set("settle", Slow(1.0))
        receipt = await payment.settle(bill())
        assert receipt.payment is not None
        assert receipt.payment["status"] == "pending"
        assert await billing.balance() == 0
    assert await billing.balance() == 1230


async def test_a_caller_that_is_cancelled_still_pays(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    async with open_harness(chain, facilitator, journal, drain=10.0) as billing:
        payment = await billing.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())
        facilitator.faults.set("settle", Slow(0.3))
        settling = asyncio.create_task(payment.settle(bill()))
        await asyncio.sleep(0.1)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
    assert await billing.balance() == 1230


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), IllegalTransitionError(State.SETTLING, State.WAIVED)])
async def test_an_orphan_that_cannot_be_ended_keeps_no_other_from_its_end(
    billing: BillingHarness, journal: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The journal is away for a moment, or the answer came to its end while its payment was taken for an orphan."""
    store = billing.payments._store
    move = store.move
    refused: list[bytes] = []

    async def refuse(known: Entry, *to: State, **changes: Any) -> Entry:
        if State.WAIVED in to and not refused:
            refused.append(known.key)
            raise error
        return await move(known, *to, **changes)

    monkeypatch.setattr(store, "move", refuse)
    resumed: list[bytes] = []
    monkeypatch.setattr(billing.payments.settlements, "resume", lambda orphan: resumed.append(orphan.key))
    lost = await SqliteStore.open(journal)
    serving, settling = (entry(owner=lost.owner) for _ in range(2))
    for payment in (serving, settling):
        await lost.claim(payment, FUNDED)
        await lost.move(payment, State.VERIFIED, State.SERVING)
    await lost.move(settling, State.SETTLING, amount=1)
    await lost.close()
    await until(lambda: resumed == [settling.key])
    assert refused == [serving.key]
    later = await SqliteStore.open(journal)
    third = entry(owner=later.owner)
    await later.claim(third, FUNDED)
    await later.close()
    await until(lambda: not any(each.key == third.key for each in _open(journal)))


def _open(journal: Path) -> list[Entry]:
    """What nobody has ended yet."""
    with closing(sqlite3.connect(journal)) as db:
        entries = [decode_entry(row[0]) for row in db.execute("SELECT entry FROM payments")]
    return [each for each in entries if each.state in BEFORE_SETTLING]
