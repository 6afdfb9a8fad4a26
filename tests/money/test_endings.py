"""How an answer can end, and what is charged for it then (facts/x402.md 1.10, 4; docs/payments.md)."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import aiohttp
import pytest

from gateway.billing.journal import Entry, State
from gateway.billing.pricing import atomic, cost
from gateway.catalog import Catalog
from gateway.openai_api.usage import Usage
from tests.event_streams import events
from tests.money.conftest import Define, OpenShop
from tests.money.paid_gateway import (
    CHAT_PATH,
    Json,
    PaidGateway,
    chat,
    decode_header,
    payment_of,
)
from tests.waiting import until
from tools.chain.deployment import OPG
from tools.chain.faults import Slow
from tools.demo.price_source import PriceSource
from tools.simulators.scenario import Scenario

LONG = Scenario(text="word " * 100, event_delay=0.03)


async def leave_after(shop: PaidGateway, body: Json, signature: str, seconds: float, *, events: int = 0) -> None:
    """Go away after so many events, or when nothing has come for so long."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            response = await session.post(shop.url + CHAT_PATH, json=body, headers={"PAYMENT-SIGNATURE": signature})
            for _ in range(2 * events):
                await response.content.readline()
            response.close()
        except TimeoutError:
            assert not events


async def only_entry(shop: PaidGateway) -> Entry:
    [entry] = await shop.ended()
    return entry


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_before_the_first_byte_is_free(shop: PaidGateway, stream: bool) -> None:
    """Row 5. The authorization stays used up all the same."""
    shop.fleet.openai.enqueue(Scenario(first_byte_delay=0.6))
    request = chat(stream=stream)
    signature = await shop.sign(await shop.wallet(), request)
    await leave_after(shop, request, signature, 0.3)
    entry = await only_entry(shop)
    assert (entry.state, entry.note) == (State.WAIVED, "client_left")
    assert await shop.paid() == []
    assert (await shop.post(request, signature)).status == 402


@pytest.mark.parametrize(("model", "stream", "usd"), [("gpt-4.1", False, "0.01"), ("gemini-2.5-flash", True, "0.003")])
async def test_leaving_again_and_again_is_refused(
    open_shop: OpenShop, define: Define, model: str, stream: bool, usd: str
) -> None:
    """Row 5. Where vendors bill all the same, nobody can have the gateway pay for ever more."""
    define(exposure={"abandoned_usd": Decimal(usd), "abandoned_seconds": 3600})
    shop, request = await open_shop(), chat(model=model, stream=stream)
    vendor, wallet = shop.fleet.google if "gemini" in model else shop.fleet.openai, await shop.wallet()
    for left in (1, 2):
        vendor.enqueue(Scenario(first_byte_delay=0.4, prompt_tokens=1000, completion_tokens=900))
        await leave_after(shop, request, await shop.sign(wallet, request), 0.2)
        await shop.ended()
        assert len(vendor.requests) == left
    refused = await shop.pay(wallet, request)
    assert (refused.status, (await refused.json())["error"]["code"]) == (429, "too_much_unsettled")
    assert 0 < int(refused.headers["Retry-After"]) < 36000
    assert len(vendor.requests) == 2
    assert (await shop.pay(await shop.wallet(), request)).status == 200


async def test_leaving_a_model_that_reasons_counts_by_the_time_that_it_took(
    open_shop: OpenShop, define: Define
) -> None:
    """Row 5. Nothing of its reasoning is shown, and it is billed all the same."""
    define(exposure={"abandoned_usd": Decimal("0.0003"), "abandoned_seconds": 36000})
    shop, request = await open_shop(), chat(model="gpt-5.2", stream=True, reasoning_effort="high")
    wallet = await shop.wallet()
    shop.fleet.openai.enqueue(Scenario(first_byte_delay=4.0))
    await leave_after(shop, request, await shop.sign(wallet, request), 3.0)
    entry = await only_entry(shop)
    assert (entry.state, entry.note) == (State.WAIVED, "client_left")
    assert (await shop.pay(wallet, request)).status == 429


async def test_leaving_a_stream_pays_for_what_was_produced(shop: PaidGateway) -> None:
    """Row 5. The vendor is stopped in a moment, and what it produced by then is estimated and settled."""
    shop.fleet.openai.enqueue(LONG)
    request = chat(stream=True)
    await leave_after(shop, request, await shop.sign(await shop.wallet(), request), 5, events=4)
    await until(lambda: shop.fleet.openai.requests[-1].aborted_at is not None)
    entry = await only_entry(shop)
    assert entry.state is State.SETTLED
    assert 0 < (entry.amount or 0) < 100 * 2 * 8
    assert await shop.balance() == entry.amount


async def test_leaving_a_stream_that_was_paid_upfront_credits_the_rest(shop: PaidGateway) -> None:
    """Row 5. What was produced is paid for as with ``upto``."""
    shop.fleet.openai.enqueue(LONG)
    request = chat(stream=True)
    await leave_after(shop, request, await shop.sign(await shop.wallet(), request, scheme="exact"), 5, events=4)
    entry = await only_entry(shop)
    assert entry.cost_usd is not None
    assert (entry.state, entry.credited) == (State.SERVED, entry.cap - atomic(entry.cost_usd, Decimal(1), 6))
    assert 0 < entry.credited < entry.cap == await shop.balance()


@pytest.mark.parametrize(
    ("vendor", "body", "thought"),
    [
        ("openai", {"model": "gpt-5.2", "reasoning_effort": "high"}, True),
        ("openai", {"model": "gpt-5.2", "reasoning_effort": "none"}, False),
        ("xai", {"model": "grok-4"}, True),
        ("xai", {"model": "grok-4-fast-non-reasoning"}, False),
    ],
)
async def test_leaving_a_stream_pays_for_hidden_reasoning_too(
    shop: PaidGateway, vendor: str, body: Json, thought: bool
) -> None:
    """Row 5. Else a client that has read what it wanted would leave the most expensive part to the gateway."""
    getattr(shop.fleet, vendor).enqueue(Scenario(text="word " * 100, event_delay=0.03, first_byte_delay=3.5))
    request = chat(stream=True, **body)
    await leave_after(shop, request, await shop.sign(await shop.wallet(), request), 20, events=40)
    entry = await only_entry(shop)
    assert entry.state is State.SETTLED
    assert (entry.usage["output_tokens"] > 100) is thought
    assert await shop.balance() == entry.amount


async def test_leaving_a_vendor_that_goes_on_billing_pays_what_it_bills(shop: PaidGateway) -> None:
    """Row 5. Gemini's answer is drained for its exact usage."""
    shop.fleet.google.enqueue(
        Scenario(text="word " * 20, event_delay=0.02, prompt_tokens=11, completion_tokens=77, reasoning_tokens=0)
    )
    request = chat(model="gemini-2.5-flash", stream=True)
    await leave_after(shop, request, await shop.sign(await shop.wallet(), request), 5, events=2)
    entry = await only_entry(shop)
    assert shop.fleet.google.requests[-1].aborted_at is None
    assert entry.cost_usd == 11 * Decimal("0.3e-6") + 77 * Decimal("2.5e-6")
    assert await shop.balance() == entry.amount


@pytest.mark.parametrize("scheme", ["upto", "exact"])
async def test_an_upstream_that_breaks_before_it_answers(shop: PaidGateway, scheme: str) -> None:
    shop.fleet.openai.enqueue(Scenario(error="bad_key"))
    request = chat()
    response = await shop.pay(await shop.wallet(), request, scheme=scheme)
    assert response.status == 502
    assert (await only_entry(shop)).state is State.WAIVED
    assert await shop.paid() == []


async def test_an_upstream_that_breaks_in_mid_stream(shop: PaidGateway) -> None:
    """What was delivered is charged; the stream ends in an error and a broken connection, without ``[DONE]``."""
    shop.fleet.openai.enqueue(Scenario(text="one two three four five six", cut_after=4))
    received = await broken(shop, chat(stream=True))
    assert events(received)[-1]["error"]["code"] == "upstream_truncated"
    assert b"[DONE]" not in received
    entry = await only_entry(shop)
    assert entry.state is State.SETTLED
    assert await shop.balance() == entry.amount == atomic(entry.cost_usd or Decimal(0), Decimal(1), 6) > 0


async def broken(shop: PaidGateway, body: Json) -> bytes:
    """What arrives of a paid stream that is broken off."""
    signature, received = await shop.sign(await shop.wallet(), body), b""
    headers = {"PAYMENT-SIGNATURE": signature}
    async with shop.gateway.session.post(shop.url + CHAT_PATH, json=body, headers=headers) as response:
        assert response.status == 200
        try:
            async for line in response.content:
                received += line
        except aiohttp.ClientPayloadError:
            return received
    raise AssertionError("the stream ended as if it were complete")


async def test_upfront_payments_for_broken_answers_are_credited(shop: PaidGateway) -> None:
    """Row 23. There is no refund; the next answer is paid by what this one did not cost."""
    wallet, request = await shop.wallet(), chat(stream=True)
    shop.fleet.openai.default = Scenario(error="server_error")
    broken = await shop.pay(wallet, request, scheme="exact")
    shop.fleet.openai.reset()
    assert (broken.status, broken.headers["x-should-retry"]) == (502, "false")
    assert broken.headers["Cache-Control"] == "no-store"
    [paid] = await shop.paid()
    told = decode_header(broken.headers["PAYMENT-RESPONSE"])
    assert (told["success"], told["transaction"], told["amount"]) == (True, paid.transaction, str(paid.amount))
    payment = await payment_of(await shop.pay(wallet, request, scheme="exact"))
    assert (payment["status"], payment["amount"]) == ("waived", "0")
    assert await shop.paid() == [paid]


async def test_what_a_broken_stream_did_not_cost_of_an_upfront_payment_is_credited(shop: PaidGateway) -> None:
    """Row 23. The credit pays for later answers, and what one of these did not cost is credited again."""
    wallet = await shop.wallet()
    broken = Scenario(text="one two three four five six", cut_after=4)
    shop.fleet.openai.enqueue(broken)
    with pytest.raises(aiohttp.ClientPayloadError):
        await shop.pay(wallet, chat(stream=True, max_tokens=1000), scheme="exact")
    [entry], [paid] = await shop.ended(), await shop.paid()
    assert entry.cost_usd is not None
    assert entry.credited == paid.amount - atomic(entry.cost_usd, Decimal(1), 6) > 0

    shop.fleet.openai.enqueue(broken)
    with pytest.raises(aiohttp.ClientPayloadError):
        await shop.pay(wallet, chat(stream=True, max_tokens=500), scheme="exact")
    _, second = sorted(await shop.ended(), key=lambda entry: entry.updated)
    assert second.cost_usd is not None
    assert (second.by_credit, second.credited) == (True, second.cap - atomic(second.cost_usd, Decimal(1), 6))

    payment = await payment_of(await shop.pay(wallet, chat(stream=True, max_tokens=900), scheme="exact"))
    assert (payment["status"], payment["amount"]) == ("waived", "0")
    assert await shop.paid() == [paid]


@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4-6", "gemini-2.5-flash"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_an_answer(shop: PaidGateway, model: str, stream: bool) -> None:
    """It costs what the vendor reports for it, which may be the prompt alone."""
    scenario = Scenario(text="No.", finish="refusal", prompt_tokens=20, completion_tokens=3, reasoning_tokens=0)
    for simulator in shop.fleet.simulators.values():
        simulator.enqueue(scenario)
    response = await shop.pay(await shop.wallet(), chat(model=model, stream=stream))
    payment = await payment_of(response)
    due = atomic(Decimal(payment["cost_usd"]), Decimal(1), 6)
    assert Decimal(payment["cost_usd"]) >= 20 * Decimal("0.3e-6")
    assert (payment["status"], int(payment["amount"])) == ("settled", due)
    assert await shop.balance() == due


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_that_anthropic_does_not_bill_is_free(shop: PaidGateway, stream: bool) -> None:
    shop.fleet.anthropic.enqueue(Scenario(text="", finish="refusal", prompt_tokens=20, completion_tokens=0))
    payment = await payment_of(await shop.pay(await shop.wallet(), chat(model="claude-sonnet-4-6", stream=stream)))
    assert (payment["status"], payment["cost_usd"]) == ("waived", "0")
    assert shop.facilitator.called("settle") == []


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_costs_nothing_is_waived(shop: PaidGateway, stream: bool) -> None:
    """Row 24. Nothing is settled, so the nonce is still open on the chain; it is remembered as used."""
    shop.fleet.openai.enqueue(Scenario(prompt_tokens=0, completion_tokens=0))
    request = chat(stream=stream)
    signature = await shop.sign(await shop.wallet(), request)
    payment = await payment_of(await shop.post(request, signature))
    assert (payment["status"], payment["amount"], payment["transaction"]) == ("waived", "0", "")
    assert shop.facilitator.called("settle") == []
    again = await shop.post(request, signature)
    assert (again.status, (await again.json())["error"]["code"]) == (402, "payment_already_used")
    assert await shop.paid() == []


async def test_an_upfront_payment_for_an_answer_that_costs_nothing_is_credited(shop: PaidGateway) -> None:
    shop.fleet.openai.enqueue(Scenario(prompt_tokens=0, completion_tokens=0))
    wallet, request = await shop.wallet(), chat(stream=True)
    statuses = [(await payment_of(await shop.pay(wallet, request, scheme="exact")))["status"] for _ in range(2)]
    assert (statuses, len(await shop.paid())) == (["settled", "waived"], 1)


@pytest.mark.parametrize(
    "model", ["gpt-4.1", "claude-haiku-4-5", "gemini-2.5-flash", "grok-4", "seed-1.6", "hermes-4-70b"]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_usage_that_is_not_reported_is_estimated(
    shop: PaidGateway, catalog: Catalog, model: str, stream: bool
) -> None:
    for simulator in shop.fleet.simulators.values():
        simulator.enqueue(Scenario(text="word " * 40, omit_usage=True))
    response = await shop.pay(await shop.wallet(), chat("A question", model=model, stream=stream))
    payment = await payment_of(response)
    body = events(await response.read())[-1] if stream else await response.json()
    usage = body["usage"]
    assert 20 <= usage["completion_tokens"] <= 200
    counted = Usage(prompt_tokens=usage["prompt_tokens"], completion_tokens=usage["completion_tokens"])
    due = cost(catalog.find(body["model"]), counted, datetime.now(UTC).date())
    assert Decimal(payment["cost_usd"]) == due > 0
    assert await shop.balance() == atomic(due, Decimal(1), 6)


async def test_the_deadline_passing_in_mid_stream(open_shop: OpenShop, define: Define) -> None:
    """Row 4. The answer is cut while there is still time to settle, and what was delivered is paid."""
    define(
        quotes={"max_timeout_seconds": 11},
        deadlines={"settle_margin_seconds": 9, "least_answer_seconds": 1},
        settlement={"hold_seconds": 3.0, "retry_seconds": 0.2, "sweep_seconds": 0.3},
    )
    shop = await open_shop()
    shop.fleet.openai.enqueue(Scenario(text="word " * 400, event_delay=0.05))
    received = await broken(shop, chat(stream=True))
    assert events(received)[-1]["error"]["code"] == "upstream_timeout"
    entry = await only_entry(shop)
    assert entry.state is State.SETTLED
    assert await shop.balance() == entry.amount
    assert shop.fleet.openai.requests[-1].aborted_at is not None


async def test_the_output_is_clamped_to_what_the_cap_covers(open_shop: OpenShop) -> None:
    """Row 11. The worst case fits the most that a request may cost, and the vendor is held to it."""
    shop = await open_shop(GATEWAY_MAX_USD="0.002")
    request = chat(max_tokens=5000)
    [cap, *_] = [int(offer["amount"]) for offer in (await shop.required(request))["accepts"][1:]]
    assert 1950 < cap <= 2000
    response = await shop.pay(await shop.wallet(), request)
    limit = int(response.headers["x-output-limit"])
    assert 100 < limit < 250
    assert shop.fleet.openai.requests[-1].json["max_tokens"] == limit
    await shop.pay(await shop.wallet(), chat(max_tokens=5000, model="seed-1.6"))
    body = shop.fleet.ark.requests[-1].json
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] > limit


async def test_a_prompt_that_is_too_dear_is_refused(open_shop: OpenShop) -> None:
    """Row 11. No offer is made that could not be kept."""
    shop = await open_shop(GATEWAY_MAX_USD="0.0001")
    response = await shop.post(chat("word " * 1000))
    assert (response.status, (await response.json())["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_cap_is_never_exceeded(shop: PaidGateway, stream: bool) -> None:
    """Row 11. A vendor that ignores its limit costs the gateway, not the payer."""
    shop.fleet.openai.enqueue(Scenario(completion_tokens=500_000))
    wallet, request = await shop.wallet(), chat(max_tokens=10, stream=stream)
    signature = await shop.sign(wallet, request)
    payment = await payment_of(await shop.post(request, signature))
    assert payment["amount"] == decode_header(signature)["accepted"]["amount"]
    assert Decimal(payment["cost_usd"]) > 4
    assert await shop.balance() == int(payment["amount"])


async def test_a_streamed_upto_payment_settles_before_the_last_event(shop: PaidGateway) -> None:
    """Facts 1.10.11. Everything but the last event has come while the settlement is still under way."""
    shop.facilitator.faults.set("settle", Slow(0.6))
    request, loop = chat(stream=True), asyncio.get_running_loop()
    signature = await shop.sign(await shop.wallet(), request)
    times: list[float] = []
    async with shop.gateway.session.post(
        shop.url + CHAT_PATH, json=request, headers={"PAYMENT-SIGNATURE": signature}
    ) as response:
        async for event in data_events(response):
            times.append(loop.time())
            last = event
            if "payment" in event:
                assert await shop.balance() == int(event["payment"]["amount"])
    assert last["payment"]["status"] == "settled"
    assert times[-1] - times[-2] > 0.5


async def data_events(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    async for line in response.content:
        if line.startswith(b"data: {"):
            yield json.loads(line[6:])


async def test_usage_asked_for_in_a_chunk_of_its_own_carries_the_payment(shop: PaidGateway) -> None:
    request = chat(stream=True, stream_options={"include_usage": True})
    response = await shop.pay(await shop.wallet(), request)
    last = events(await response.read())[-1]
    assert (last["choices"], last["payment"]["status"]) == ([], "settled")


async def test_opg_is_rounded_up_once_per_request(open_shop: OpenShop, prices: PriceSource) -> None:
    """Row 12. Two prompts, two upstream calls, one sum, one unit more than the exact quotient."""
    prices.usd = Decimal("0.07")
    shop = await open_shop()
    for _ in range(2):
        shop.fleet.openai.enqueue(Scenario(prompt_tokens=1, completion_tokens=1))
    request = {"model": "gpt-4.1", "prompt": ["a", "b"], "max_tokens": 10}
    response = await shop.pay(await shop.wallet(), request, path="/v1/completions", token=OPG)
    payment = await payment_of(response)
    assert (payment["rate"], Decimal(payment["cost_usd"])) == ("0.07", Decimal("0.00002"))
    assert int(payment["amount"]) == 285_714_285_714_286
    assert await shop.balance(OPG) == 285_714_285_714_286
