"""A payment that is in use, brought again under terms that hold no longer: never an offer to pay once more
(facts/x402.md 1.11, 4 row 8)."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.billing.facilitator import Facilitator
from gateway.billing.journal import State
from gateway.billing.payment import Order
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.openai_api.errors import GatewayError
from tests.billing.harness import DOLLAR, BillingHarness, bill, open_harness, order, quick, refusal
from tests.clocks import UnixClock
from tests.money.paid_gateway import read_journal
from tools.chain.deployment import OPG
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Status, Verdict
from tools.chain.local_chain import LocalChain

WAYS = [("upto", "permit2"), ("exact", "eip3009"), ("exact", "permit2")]


def assert_in_flight(error: GatewayError) -> None:
    assert (error.status, error.code) == (409, "payment_in_flight")
    assert error.retry_after
    assert "PAYMENT-REQUIRED" not in error.headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("scheme", "method"), WAYS)
async def test_while_its_answer_is_awaited(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, scheme: str, method: str, stream: bool
) -> None:
    """Answers take longer than quotes hold, and than what a payer signed leaves time for another one."""
    clock, definitions = UnixClock(), quick()
    async with open_harness(chain, facilitator, journal, clock=clock) as billing:
        wallet = await chain.wallet(usdc=DOLLAR, approve=True)
        paid = await billing.pay(wallet, order(stream=stream), scheme=scheme, method=method)
        payment = await billing.payments.admit(paid)
        assert_in_flight(await refusal(billing.payments, replace(paid, output_tokens=30_000)))
        assert_in_flight(await refusal(billing.payments, replace(paid, path="/v1/completions")))
        clock.ahead = definitions.quotes.seconds + 10
        assert_in_flight(await refusal(billing.payments, paid))
        clock.ahead = definitions.quotes.max_timeout_seconds - 50
        assert_in_flight(await refusal(billing.payments, paid))
        await payment.settle(bill())
        again = await refusal(billing.payments, paid)
        assert (again.status, again.code, "PAYMENT-REQUIRED" in again.headers) == (402, "quote_expired", True)


async def test_when_its_contract_accounts_funds_are_spent_meanwhile(
    billing: BillingHarness, chain: LocalChain, facilitator: LocalFacilitator
) -> None:
    """Its signature is only verified by the facilitator, which looks at the funds as well, before the claim."""
    paid = await billing.pay(await chain.contract_wallet(usdc=DOLLAR, approve=True), order())
    await billing.payments.admit(paid)
    facilitator.faults.set("verify", Verdict(False))
    assert_in_flight(await refusal(billing.payments, paid))


async def test_by_the_next_process_that_knows_no_offer_of_the_last(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    wallet = await chain.wallet(opg=10**20, approve=True)
    facilitator.faults.set("settle", Status(500))
    async with open_harness(chain, facilitator, journal) as first:
        paid: Order = await first.pay(wallet, order(), token=OPG)
        receipt = await (await first.payments.admit(paid)).settle(bill())
        assert receipt.payment is not None
        assert receipt.payment["status"] == "pending"
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute("DELETE FROM keys")
    async with open_harness(chain, facilitator, journal, payee=first.payee, mac_key=b"n" * 32) as second:
        assert_in_flight(await refusal(second.payments, paid))
        facilitator.faults.clear()
        await second.payments.settlements.drain(10)
        used = await refusal(second.payments, paid)
        assert (used.status, used.code) == (402, "invalid_payment_requirements")
        assert await second.balance(OPG) > 0


async def test_one_that_was_used_up_gets_a_new_offer(billing: BillingHarness, chain: LocalChain) -> None:
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    await (await billing.payments.admit(paid)).release("upstream_failed")
    await billing.payments.settlements.drain(5)
    dearer = await refusal(billing.payments, replace(paid, output_tokens=30_000))
    assert (dearer.status, dearer.code) == (402, "quote_too_small")


async def test_a_refusal_takes_one_look_into_the_journal(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a transaction, and whoever names a payer can cause it."""
    async with open_harness(chain, facilitator, journal) as billing:
        wallet = await chain.wallet(usdc=DOLLAR, approve=True)
        paid = await billing.pay(wallet, order(), scheme="exact")
        looks = []
        run = SqliteStore._run

        async def counted(store: SqliteStore, work: Callable[..., Any]) -> Any:
            looks.append(work)
            return await run(store, work)

        monkeypatch.setattr(SqliteStore, "_run", counted)
        error = await refusal(billing.payments, replace(paid, path="/v1/completions"))
        assert (error.status, len(looks)) == (402, 1)


async def test_the_journal_does_not_quote_an_unexpected_failure(
    billing: BillingHarness, chain: LocalChain, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the prompt")

    monkeypatch.setattr(Facilitator, "verify", fail)
    with pytest.raises(RuntimeError):
        await billing.admit(await chain.wallet(usdc=10**6), order())
    [released] = read_journal(journal)
    assert (released.state, released.note) == (State.RELEASED, "RuntimeError")
