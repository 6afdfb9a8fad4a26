"""Payments that are configured from the environment, and once more by an injection while some are under way."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from gateway.billing.payment_metrics import PaymentMetrics
from gateway.billing.payment_settings import PaymentSettings
from gateway.billing.payments import X402Payments
from gateway.clock import Clock
from gateway.deferred_payments import DeferredPayments
from gateway.keyring import Injection
from gateway.settings import Settings
from tests.billing.harness import CATALOG, DOLLAR, BillingHarness, bill, order
from tests.running_gateway import StartGateway
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.demo.price_source import PriceSource

OTHER = "0x" + "77" * 20


@pytest.fixture
def payee() -> str:
    return Wallet().address


@pytest.fixture
async def deferred(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path, payee: str
) -> AsyncIterator[DeferredPayments]:
    """Configured from the environment."""
    async with PriceSource() as prices:
        settings = Settings(
            pay_to=payee,
            facilitator_url=facilitator.url,
            rpc_url=chain.rpc_url,
            price_url=prices.url,
            journal=str(journal),
            drain_seconds=1.0,
        )
        metrics = PaymentMetrics(CollectorRegistry())
        payments = DeferredPayments(settings, CATALOG, b"m" * 32, Clock(), metrics)
        await payments.configure()
        try:
            yield payments
        finally:
            await payments.close()


@pytest.fixture
def billing(chain: LocalChain, facilitator: LocalFacilitator, deferred: DeferredPayments, payee: str) -> BillingHarness:
    return BillingHarness(chain, facilitator, cast("X402Payments", deferred), payee, cast("PaymentSettings", None))


@pytest.mark.parametrize(
    "facts",
    [{"openai_api_key": "sk-injected"}, {"evm_payment_address": OTHER}],
    ids=["same payments", "other payments"],
)
async def test_a_payment_that_is_under_way_while_keys_are_injected_is_settled(
    deferred: DeferredPayments, billing: BillingHarness, chain: LocalChain, facts: dict[str, Any]
) -> None:
    payment = await billing.admit(await chain.wallet(usdc=DOLLAR, approve=True), order())
    await deferred.configure(Injection(**facts))
    await payment.settle(bill())
    assert await billing.balance() == 1230


async def test_an_injection_decides_who_is_paid_from_now_on(
    deferred: DeferredPayments, billing: BillingHarness
) -> None:
    assert {offer["payTo"] for offer in (await billing.offer(order()))["accepts"]} == {billing.payee}
    await deferred.configure(Injection(evm_payment_address=OTHER))
    assert {offer["payTo"] for offer in (await billing.offer(order()))["accepts"]} == {OTHER}


async def test_the_chain_is_read_where_the_injection_says(deferred: DeferredPayments, payee: str) -> None:
    injection = Injection(evm_rpc_url="https://rpc.example", coingecko_api_key="cg", journal_key="11" * 32)
    settings = deferred._payment_settings(injection, payee, "https://facilitator.example")
    assert (settings.rpc_url, settings.price_key) == ("https://rpc.example", "cg")
    assert settings.journal_key == b"\x11" * 32


async def test_facts_that_stay_as_they_are_open_nothing_again(
    deferred: DeferredPayments, billing: BillingHarness, facilitator: LocalFacilitator
) -> None:
    asked = len(facilitator.called("supported"))
    await deferred.configure(Injection(openai_api_key="sk-injected"))
    assert len(facilitator.called("supported")) == asked
    await deferred.configure(Injection(evm_payment_address=OTHER))
    assert len(facilitator.called("supported")) > asked


async def test_what_others_have_taken_over_polls_nobody_any_more(
    deferred: DeferredPayments, facilitator: LocalFacilitator
) -> None:
    """An operator's earlier facilitator, node and price source would be asked until the process ends."""
    await deferred.configure(Injection(evm_payment_address=OTHER))
    earlier, latest = deferred._opened

    async def asked_by(payments: X402Payments) -> int:
        before = len(facilitator.called("supported"))
        payments._capabilities.refresh_requested.set()
        await asyncio.sleep(0.5)
        return len(facilitator.called("supported")) - before

    assert await asked_by(latest) == 1
    assert await asked_by(earlier) == 0
    assert all(task._task.done() for task in earlier._polling)
    assert not any(task._task.done() for task in (earlier._recovery, latest._recovery, *latest._polling))


@pytest.mark.parametrize(
    ("variable", "problem"),
    [("GATEWAY_JOURNAL_SINK", "journal sink: Is a directory"), ("GATEWAY_JOURNAL", "it cannot be opened")],
)
async def test_clients_do_not_see_where_a_journal_is_that_cannot_be_restored(
    start_gateway: StartGateway, tmp_path: Path, payee: str, variable: str, problem: str
) -> None:
    gateway = await start_gateway(
        {
            "GATEWAY_PAYMENTS": "required",
            "GATEWAY_JOURNAL": str(tmp_path / "journal"),
            "GATEWAY_JOURNAL_SINK": f"file://{tmp_path}/sink",
            variable: f"file://{tmp_path}" if variable.endswith("SINK") else str(tmp_path),
            "EVM_PAYMENT_ADDRESS": payee,
            "FACILITATOR_URL": "http://127.0.0.1:9",
        }
    )
    assert (await gateway.post("/v1/keys", {"openai_api_key": "k", "journal_key": "5e" * 32})).status == 200
    async with gateway.session.get(gateway.url + "/health/ready") as ready:
        assert (await ready.json())["reasons"] == [f"the journal cannot be restored: {problem}"]
    refusal = await gateway.chat("gpt-4.1", "Hello")
    assert (refusal.status, str(tmp_path) in await refusal.text()) == (503, False)


async def test_a_facilitator_that_does_not_answer_is_waited_for_in_the_background(
    start_gateway: StartGateway, journal: Path, payee: str
) -> None:
    """Orchestrators ask a gateway for its health as soon as it is started."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with asyncio.timeout(4):
            gateway = await start_gateway(
                {
                    "GATEWAY_PAYMENTS": "required",
                    "GATEWAY_JOURNAL": str(journal),
                    "OPENAI_API_KEY": "k",
                    "EVM_PAYMENT_ADDRESS": payee,
                    "FACILITATOR_URL": url,
                    "GATEWAY_PRICE_URL": url,
                }
            )
            async with gateway.session.get(gateway.url + "/health/ready") as ready:
                body = await ready.json()
    assert (ready.status, body["reasons"]) == (503, ["the facilitator has not responded yet"])
