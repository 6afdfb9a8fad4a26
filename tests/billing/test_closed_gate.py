"""What closes the paid routes, or shortens the offer: a chain, a facilitator or a price that is missing."""

import math
from decimal import Decimal
from pathlib import Path

import pytest
from aiohttp import web

from gateway.billing.payment_settings import PaymentSettings
from gateway.billing.payments import X402Payments
from gateway.openai_api.errors import GatewayError
from tests.billing.harness import CATALOG, DOLLAR, BillingHarness, bill, open_harness, order, quick, refusal, required
from tests.waiting import until
from tools.chain.deployment import OPG, USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Status
from tools.chain.local_chain import LocalChain


async def test_an_rpc_endpoint_that_is_away_closes_the_gate(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    rpc_url = "http://127.0.0.1:9"
    async with open_harness(chain, facilitator, journal, rpc_url=rpc_url) as billing:
        paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
        error = await refusal(billing.payments, paid)
        assert (error.status, error.retry_after is not None) == (503, True)
        assert "PAYMENT-REQUIRED" not in error.headers
        assert billing.payments.reasons() == ["payers' funds cannot be read from the chain"]


async def test_an_rpc_endpoint_that_goes_away_is_a_reason_once_a_payment_finds_out(
    billing: BillingHarness, chain: LocalChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked only every few minutes otherwise, and not for each payment."""
    paid = await billing.pay(await chain.wallet(usdc=DOLLAR, approve=True), order())
    check = billing.payments._chain_check
    assert check._chain is not None
    monkeypatch.setattr(check._chain._rpc, "_url", "http://127.0.0.1:9")
    monkeypatch.setattr(check, "_attempted_at", math.inf)
    assert (await refusal(billing.payments, paid)).status == 503
    assert not check.requested.is_set()
    monkeypatch.setattr(check, "_attempted_at", 0.0)
    assert (await refusal(billing.payments, paid)).status == 503
    await until(lambda: billing.payments.reasons() == ["payers' funds cannot be read from the chain"])


async def test_nothing_is_served_until_the_facilitator_says_what_it_supports(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    facilitator.faults.set("supported", Status(500))
    async with open_harness(chain, facilitator, journal) as billing:
        error = await refusal(billing.payments, order())
        assert error.status == 503
        assert "facilitator is not usable" in error.message
        assert billing.payments.reasons()
        challenge = billing.payments.challenge("https://gw.example/")
        assert challenge is not None
        assert challenge.status == 503
        facilitator.faults.clear()
        await until(lambda: not billing.payments.reasons())
        assert required(await refusal(billing.payments, order()))["accepts"]


@pytest.mark.parametrize("answer", ["redirect", "empty", "list", "unknown"])
async def test_a_facilitator_that_supports_nothing_usable_closes_the_paid_routes(journal: Path, answer: str) -> None:
    bodies = {"empty": "", "list": "[]", "unknown": '{"kinds":[{"x402Version":2,"scheme":"exact","network":"a:b"}]}'}

    async def handle(_request: web.Request) -> web.Response:
        if answer == "redirect":
            raise web.HTTPFound("/elsewhere")
        return web.Response(text=bodies[answer], content_type="application/json")

    async def elsewhere(_request: web.Request) -> web.Response:
        return web.json_response({"kinds": [{"x402Version": 2, "scheme": "exact", "network": "eip155:8453"}]})

    app = web.Application()
    app.router.add_get("/supported", handle)
    app.router.add_get("/elsewhere", elsewhere)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    settings = PaymentSettings(
        payee="0x" + "11" * 20,
        facilitator_url=url,
        journal=journal,
        max_usd=Decimal("1.00"),
        mac_key=b"k" * 32,
        price_url=url,
    )
    payments = await X402Payments.open(settings, CATALOG, quick())
    try:
        with pytest.raises(GatewayError) as closed:
            await payments.admit(order())
        assert closed.value.status == 503
    finally:
        await payments.close(1)
        await runner.cleanup()


async def test_opg_without_a_price_is_not_offered_and_an_older_quote_still_holds(
    chain: LocalChain, facilitator: LocalFacilitator, journal: Path
) -> None:
    async with open_harness(chain, facilitator, journal) as billing:
        paid = await billing.pay(await chain.wallet(opg=10**19, approve=True), order(), token=OPG)
        nowhere = "http://127.0.0.1:9"
        definitions = quick()
        async with open_harness(
            chain, facilitator, journal, payee=billing.payee, definitions=definitions, price_url=nowhere
        ) as other:
            assert {offer["asset"] for offer in (await other.offer(order()))["accepts"]} == {USDC.address}
            await (await other.payments.admit(paid)).settle(bill("0.001"))
        assert await billing.balance(OPG) == 10**16
