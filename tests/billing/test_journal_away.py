"""A journal that cannot be written at some moment of a payment: whoever is told 503 can bring the payment again, and
who gets no answer keeps its money and its credit, both at once and not when the deadline has passed."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.billing import journal_check
from gateway.billing.journal import Entry
from gateway.billing.storage.group_commit import GroupCommit
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import CommitUnknownError, StoreUnavailableError
from tests.billing.harness import DOLLAR, BillingHarness, bill, order, refusal
from tests.waiting import until
from tools.chain.faults import Status
from tools.chain.local_chain import LocalChain


class Outage:
    """While ``on`` no batch of the journal's steps is committed."""

    def __init__(self) -> None:
        self.on = False


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    outage, commit = Outage(), GroupCommit._commit

    def refuse(writer: GroupCommit, steps: Any) -> None:
        if not outage.on:
            commit(writer, steps)
            return
        for step in steps:
            step.outcome = StoreUnavailableError("away")

    monkeypatch.setattr(GroupCommit, "_commit", refuse)
    yield outage
    outage.on = False


def begins_with(outage: Outage, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """The outage begins as ``owner`` is asked for ``name``."""
    work = getattr(owner, name)

    async def begin(*args: Any, **kwargs: Any) -> Any:
        outage.on = True
        return await work(*args, **kwargs)

    monkeypatch.setattr(owner, name, begin)


async def credited(billing: BillingHarness, chain: LocalChain) -> Any:
    """A payer that has credit for one more answer."""
    wallet = await chain.wallet(usdc=DOLLAR)
    first = await billing.admit(wallet, order(stream=True), scheme="exact")
    await first.release("upstream_failed")
    await billing.payments.settlements.drain(5)
    return wallet


async def test_a_refusal_of_the_facilitator_s_gives_the_payment_back_once_it_can(
    billing: BillingHarness, chain: LocalChain, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    begins_with(outage, monkeypatch, billing.payments._facilitator, "verify")
    billing.facilitator.faults.set("verify", Status(500))
    assert (await refusal(billing.payments, paid)).status == 503
    billing.facilitator.faults.clear()
    monkeypatch.undo()
    assert billing.payments.settlements.task_count == 1
    await billing.payments.settlements.drain(10)
    await (await billing.payments.admit(paid)).settle(bill())
    assert await billing.balance() == 1230


@pytest.mark.parametrize(("credit", "step"), [(False, "take_credit"), (True, "take_credit"), (True, "move")])
async def test_an_upfront_payment_stays_good_where_its_credit_could_not_be_looked_up_or_taken(
    billing: BillingHarness, chain: LocalChain, outage: Outage, monkeypatch: pytest.MonkeyPatch, credit: bool, step: str
) -> None:
    wallet = await credited(billing, chain) if credit else await chain.wallet(usdc=DOLLAR)
    before = await billing.balance()
    paid = await billing.pay(wallet, order(stream=True), scheme="exact")
    begins_with(outage, monkeypatch, billing.payments._store, step)
    assert (await refusal(billing.payments, paid)).status == 503
    monkeypatch.undo()
    await billing.payments.settlements.drain(10)
    receipt = await (await billing.payments.admit(paid)).settle(bill())
    assert receipt.payment is not None
    assert receipt.payment["status"] == ("waived" if credit else "settled")
    assert (await billing.balance() == before) is credit


async def test_an_answer_that_credit_pays_for_does_not_wait_for_the_journal(
    billing: BillingHarness, chain: LocalChain, outage: Outage
) -> None:
    wallet = await credited(billing, chain)
    price = await billing.balance()
    payment = await billing.admit(wallet, order(stream=True), scheme="exact")
    outage.on = True
    receipt = await payment.settle(bill())
    assert receipt.payment is not None
    assert receipt.payment["status"] == "waived"
    outage.on = False
    await billing.payments.settlements.drain(10)
    await (await billing.admit(wallet, order(stream=True), scheme="exact")).settle(bill())
    assert await billing.balance() == 2 * price


async def test_an_answer_that_costs_nothing_does_not_wait_for_the_journal(
    billing: BillingHarness, chain: LocalChain, outage: Outage
) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    payment = await billing.payments.admit(paid)
    outage.on = True
    receipt = await payment.settle(bill("0"))
    assert receipt.payment is not None
    assert receipt.payment["status"] == "waived"
    outage.on = False
    await billing.payments.settlements.drain(10)
    assert (await refusal(billing.payments, paid)).code == "payment_already_used"
    assert await billing.balance() == 0


def is_lost_while_it_commits(monkeypatch: pytest.MonkeyPatch, name: str, step: str) -> None:
    """The store does ``step`` instead of the next ``name``, and nobody hears of it."""

    async def lost(store: SqliteStore, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        await getattr(store, step)(*args, **kwargs)
        raise CommitUnknownError("journal database: ConnectionDoesNotExistError")

    monkeypatch.setattr(SqliteStore, name, lost)


async def test_a_claim_that_was_made_unheard_is_undone(
    billing: BillingHarness, chain: LocalChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its payer would be told until the deadline that the payment is in use."""
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    is_lost_while_it_commits(monkeypatch, "claim", "claim")
    assert (await refusal(billing.payments, paid)).status == 503
    await billing.payments.settlements.drain(10)
    await (await billing.payments.admit(paid)).settle(bill())
    assert await billing.balance() == 1230


async def test_of_two_claims_only_the_one_that_was_lost_is_undone(
    billing: BillingHarness, chain: LocalChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())

    async def unmade(store: SqliteStore, *args: Any, **kwargs: Any) -> Any:
        raise CommitUnknownError("journal database: ConnectionDoesNotExistError")

    verifying = asyncio.Event()
    find, verify = SqliteStore.find, billing.payments._facilitator.verify

    async def late(store: SqliteStore, payment: Entry) -> Any:
        await verifying.wait()
        return await find(store, payment)

    async def while_it_is_undone(*args: Any) -> Any:
        verifying.set()
        await billing.payments.settlements.drain(10)
        return await verify(*args)

    monkeypatch.setattr(SqliteStore, "find", late)
    monkeypatch.setattr(billing.payments._facilitator, "verify", while_it_is_undone)
    with monkeypatch.context() as context:
        context.setattr(SqliteStore, "claim", unmade)
        assert (await refusal(billing.payments, paid)).status == 503
    payment = await billing.payments.admit(paid)
    assert (await refusal(billing.payments, paid)).code == "payment_in_flight"
    await payment.settle(bill())
    assert await billing.balance() == 1230


@pytest.mark.parametrize("credit", [False, True])
async def test_a_payment_that_was_marked_served_unheard_is_not_in_use_for_ever(
    billing: BillingHarness, chain: LocalChain, monkeypatch: pytest.MonkeyPatch, credit: bool
) -> None:
    wallet = await credited(billing, chain) if credit else await chain.wallet(usdc=DOLLAR, approve=True)
    asked = order(stream=credit)
    paid = await billing.pay(wallet, asked, scheme="exact" if credit else "upto")
    before = await billing.balance()
    with monkeypatch.context() as context:
        is_lost_while_it_commits(context, "move" if credit else "defer_move", "move")
        assert (await refusal(billing.payments, paid)).status == 503
    await billing.payments.settlements.drain(10)
    again = await refusal(billing.payments, paid)
    assert (again.status, again.code) == (402, "payment_already_used")
    assert again.headers["PAYMENT-REQUIRED"]
    receipt = await (await billing.admit(wallet, asked, scheme="exact" if credit else "upto")).settle(bill())
    assert receipt.payment is not None
    assert receipt.payment["status"] == ("waived" if credit else "settled")
    assert (await billing.balance() == before) is credit


@pytest.mark.parametrize("credit", [False, True])
async def test_an_end_that_was_written_unheard_is_the_end(
    billing: BillingHarness,
    chain: LocalChain,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    credit: bool,
) -> None:
    """Were its answer withheld, the payer would lose the credit."""
    wallet = await credited(billing, chain) if credit else await chain.wallet(usdc=DOLLAR)
    payment = await billing.admit(wallet, order(stream=True), scheme="exact")
    with monkeypatch.context() as context:
        is_lost_while_it_commits(context, "move", "move")
        receipt = await payment.settle(bill())
    assert receipt.payment is not None
    assert receipt.payment["status"] == ("waived" if credit else "settled")
    await billing.payments.settlements.drain(10)
    assert "a detached task failed" not in caplog.text


async def test_a_release_that_was_made_unheard_is_not_made_again_of_the_next_claim(
    billing: BillingHarness, chain: LocalChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer would be withheld, or a stream given away, because the payment it came with was waived meanwhile."""
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    store, served = billing.payments._store, asyncio.Event()
    assert isinstance(store, SqliteStore)
    move, find = store.move, store.find

    async def lost(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(store, "move", move)
        monkeypatch.setattr(store, "find", late)
        await move(*args, **kwargs)
        raise CommitUnknownError("journal database: ConnectionDoesNotExistError")

    async def late(payment: Entry) -> Any:
        await served.wait()
        return await find(payment)

    monkeypatch.setattr(store, "move", lost)
    billing.facilitator.faults.set("verify", Status(500))
    assert (await refusal(billing.payments, paid)).status == 503
    billing.facilitator.faults.clear()
    payment = await billing.payments.admit(paid)
    store._flush_serving()
    served.set()
    await billing.payments.settlements.drain(10)
    await payment.settle(bill())
    assert await billing.balance() == 1230


async def reasons_become(billing: BillingHarness, expected: list[str]) -> None:
    await until(lambda: billing.payments.reasons() == expected)


async def test_a_journal_that_cannot_be_written_is_a_reason_until_it_can(
    billing: BillingHarness, chain: LocalChain, outage: Outage
) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    await reasons_become(billing, [])
    outage.on = True
    await reasons_become(billing, ["no payment can be recorded: away"])
    assert (await refusal(billing.payments, paid)).status == 503
    assert (await refusal(billing.payments, order())).status == 402, "offers need no journal"
    outage.on = False
    await (await billing.payments.admit(paid)).settle(bill())
    await reasons_become(billing, [])


async def test_nobody_is_kept_waiting_for_a_journal_that_stays_locked(
    billing: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests would wait behind the check, and then as long again."""

    def fail_late(writer: GroupCommit, operations: Any) -> None:
        time.sleep(0.05)
        for operation in operations:
            operation.outcome = StoreUnavailableError("database is locked")

    monkeypatch.setattr(journal_check, "_SLOW_FAILURE_SECONDS", 0.01)
    with monkeypatch.context() as locked:
        locked.setattr(GroupCommit, "_commit", fail_late)
        await reasons_become(billing, ["no payment can be recorded: database is locked"])
        refused = await refusal(billing.payments, order())
        assert (refused.status, refused.code) == (503, "payments_unavailable")
    await reasons_become(billing, [])
    assert (await refusal(billing.payments, order())).status == 402


async def test_nobody_is_kept_waiting_for_a_journal_that_hangs(
    billing: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that does not respond: requests would wait as long, of a gateway that calls itself ready."""
    responds = threading.Event()
    commit = GroupCommit._commit

    def hang(writer: GroupCommit, operations: Any) -> None:
        responds.wait(20)
        commit(writer, operations)

    monkeypatch.setattr(journal_check, "_TIMEOUT", 0.05)
    monkeypatch.setattr(GroupCommit, "_commit", hang)
    try:
        await reasons_become(billing, ["no payment can be recorded: the journal does not respond"])
        assert (await refusal(billing.payments, order())).status == 503
    finally:
        responds.set()
    await reasons_become(billing, [])
    assert (await refusal(billing.payments, order())).status == 402
