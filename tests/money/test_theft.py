"""Getting served without paying, over HTTP (facts/x402.md 4 rows 1, 3, 8, 14-19, 24)."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.money.conftest import Define, OpenShop
from tests.money.paid_gateway import (
    CHAT_PATH,
    Json,
    PaidGateway,
    chat,
    decode_header,
    encode_header,
    payment_of,
    sign,
)
from tools.chain.deployment import OPG, USDC
from tools.chain.wallet import Wallet
from tools.simulators.scenario import Scenario, ToolCall


async def rush(urls: Sequence[str], body: Json, signatures: Sequence[str]) -> list[tuple[int, dict[str, str], bytes]]:
    """Every request at once, each on a connection of its own: status, headers, body."""

    async def one(url: str, signature: str) -> tuple[int, dict[str, str], bytes]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url + CHAT_PATH, json=body, headers={"PAYMENT-SIGNATURE": signature}) as response,
        ):
            return response.status, dict(response.headers), await response.read()

    return await asyncio.gather(*(one(urls[i % len(urls)], each) for i, each in enumerate(signatures)))


def served(answers: Sequence[tuple[int, dict[str, str], bytes]]) -> int:
    """How many were answered; no other was invited to pay again while one was in flight."""
    statuses = Counter(status for status, _, _ in answers)
    assert set(statuses) <= {200, 409}, statuses
    for status, headers, body in answers:
        if status == 409:
            assert "PAYMENT-REQUIRED" not in headers
            assert headers["Retry-After"]
            assert b"choices" not in body
    return statuses[200]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scheme", ["upto", "exact"])
async def test_one_payload_on_50_connections(shop: PaidGateway, scheme: str, stream: bool) -> None:
    """Row 1. While it is in flight the others are told to wait; afterwards it has been used."""
    shop.fleet.openai.enqueue(Scenario(first_byte_delay=0.5))
    request = chat(stream=stream)
    signature = await shop.sign(await shop.wallet(), request, scheme=scheme)
    assert served(await rush([shop.url], request, [signature] * 50)) == 1
    again = await shop.post(request, signature)
    assert (again.status, "PAYMENT-REQUIRED" in again.headers) == (402, True)
    assert len(shop.fleet.openai.requests) == 1
    [transfer] = await shop.paid()
    assert transfer.amount == await shop.balance() > 0
    assert len(shop.facilitator.called("settle")) == 1
    assert len(shop.facilitator.called("verify")) == (0 if scheme == "exact" and stream else 1)


async def test_thoughts_that_the_gateway_adds_from_its_cache_are_quoted(shop: PaidGateway) -> None:
    """The vendor bills them as prompt, though a payer who leaves them out of the body sends nearly nothing."""
    thoughts = "think " * 5000
    shop.fleet.anthropic.enqueue(Scenario(reasoning=thoughts, tool_calls=(ToolCall(name="clock", arguments={}),)))
    tools = [{"type": "function", "function": {"name": "clock"}}]
    question = chat(model="claude-sonnet-4-6", tools=tools, reasoning_effort="high")
    response = await shop.pay(await shop.wallet(), question | {"max_tokens": 20_000})
    [call] = (await response.json())["choices"][0]["message"]["tool_calls"]

    async def quoted(call_id: str) -> int:
        calling = {"role": "assistant", "content": None, "tool_calls": [call | {"id": call_id}]}
        result = {"role": "tool", "tool_call_id": call_id, "content": "12:00"}
        required = await shop.required(question | {"messages": [*question["messages"], calling, result]})
        return int(next(offer for offer in required["accepts"] if offer["scheme"] == "exact")["amount"])

    stranger = call["id"][:-4] + "zzzz"
    assert await quoted(call["id"]) - await quoted(stranger) >= len(thoughts) // 2 * 3


async def test_one_payload_at_two_gateways_with_one_journal(open_shop: OpenShop, tmp_path: Path) -> None:
    """Row 3. The second gateway would take the permit under an offer of its own; the journal knows it."""
    payee, journal = Wallet().address, tmp_path / "shared.sqlite3"
    first = await open_shop(payee=payee, journal=journal)
    second = await open_shop(payee=payee, journal=journal)
    first.fleet.openai.enqueue(Scenario(first_byte_delay=0.5))
    wallet, request = await first.wallet(), chat()
    signature = await first.sign(wallet, request)
    disguised = await rebound(second, signature, request)
    answers = await rush([first.url, second.url], request, [signature, disguised] * 25)
    assert served(answers) == 1
    assert len(first.fleet.openai.requests) == 1
    assert len(await first.paid()) == 1


async def test_one_payload_at_two_gateways_with_payees_of_their_own(open_shop: OpenShop, tmp_path: Path) -> None:
    """Row 3. The payee is signed, so a permit for one gateway is worth nothing at the other."""
    first = await open_shop(journal=tmp_path / "first.sqlite3")
    second = await open_shop(journal=tmp_path / "second.sqlite3")
    request = chat()
    signature = await first.sign(await first.wallet(), request)
    stranger = await second.post(request, signature)
    assert (stranger.status, (await stranger.json())["error"]["code"]) == (402, "invalid_payment_requirements")
    disguised = await second.post(request, await rebound(second, signature, request))
    assert (await disguised.json())["error"]["code"] == "permit2_recipient_mismatch"
    assert await second.paid() == []


async def rebound(shop: PaidGateway, signature: str, request: Json) -> str:
    """The same signed permit, under an offer that ``shop`` made itself."""
    payload = decode_header(signature)
    offers = (await shop.required(request))["accepts"]
    [offer] = [each for each in offers if (each["scheme"], each["asset"]) == ("upto", USDC.address)]
    assert offer["amount"] == payload["accepted"]["amount"]
    return encode_header({**payload, "accepted": offer})


TAMPERINGS: dict[str, Callable[[Json], Any]] = {
    "amount": lambda offer: offer.update(amount="1"),
    "payee": lambda offer: offer.update(payTo=Wallet().address),
    "token": lambda offer: offer.update(asset=OPG.address),
    "scheme": lambda offer: offer.update(scheme="exact"),
    "network": lambda offer: offer.update(network="eip155:1"),
    "timeout": lambda offer: offer.update(maxTimeoutSeconds=99_999),
    "rate": lambda offer: offer["extra"]["quote"].update(rate="1000"),
    "expiry": lambda offer: offer["extra"]["quote"].update(expires=2**40),
    "facilitator": lambda offer: offer["extra"].update(facilitatorAddress=Wallet().address),
    "extra key": lambda offer: offer["extra"].update(discount="all"),
    "flow": lambda offer: offer["extra"].update(paymentFlow="upfront"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_tampered_terms(shop: PaidGateway, tampering: str) -> None:
    """Rows 15, 17. The echo holds our own MAC; no facilitator would look at it."""
    request = chat()
    payload = decode_header(await shop.sign(await shop.wallet(), request))
    TAMPERINGS[tampering](payload["accepted"])
    response = await shop.post(request, encode_header(payload))
    assert (response.status, (await response.json())["error"]["code"]) == (402, "invalid_payment_requirements")
    assert shop.facilitator.called("verify") == []
    assert not shop.fleet.openai.requests


async def test_terms_of_the_payers_own_making(shop: PaidGateway) -> None:
    """Row 15. A valid signature over other terms than the echoed offer: a lower cap, another payee."""
    wallet, request = await shop.wallet(), chat()
    required = await shop.required(request)
    genuine = required["accepts"][1]
    for change, code in (
        ({"amount": "1"}, "permit2_amount_mismatch"),
        ({"amount": "0"}, "permit2_amount_mismatch"),
        ({"payTo": Wallet().address}, "permit2_recipient_mismatch"),
    ):
        forged = decode_header(await sign(wallet, {**required, "accepts": [{**genuine, **change}]}))
        response = await shop.post(request, encode_header({**forged, "accepted": genuine}))
        assert (response.status, (await response.json())["error"]["code"]) == (402, code)
    assert await shop.paid() == []


async def test_a_cheap_payment_does_not_buy_a_dear_answer(shop: PaidGateway) -> None:
    """Rows 14, 16. The quote must cover the request that it comes with; then any request may come with it."""
    wallet = await shop.wallet()
    signature = await shop.sign(wallet, chat(max_tokens=10))
    dear = await shop.post(chat(max_tokens=30_000), signature)
    assert (dear.status, (await dear.json())["error"]["code"]) == (402, "quote_too_small")
    offered = decode_header(dear.headers["PAYMENT-REQUIRED"])["accepts"][1]["amount"]
    assert int(offered) > int(decode_header(signature)["accepted"]["amount"])
    cheaper = await shop.post(chat("Hi", max_tokens=5), signature)
    assert (await payment_of(cheaper))["status"] == "settled"
    other = await shop.sign(wallet, chat())
    elsewhere = await shop.post({"model": "gpt-4.1", "prompt": "x"}, other, path="/v1/completions")
    assert (await elsewhere.json())["error"]["code"] == "resource_mismatch"


def without_quote(signature: str) -> str:
    """As SDKs with typed offers (r402) echo it: the keys that x402 does not know are gone."""
    payload = decode_header(signature)
    for key in ("quote", "price_basis", "paymentFlow"):
        payload["accepted"]["extra"].pop(key, None)
    return encode_header(payload)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scheme", ["exact", "upto"])
async def test_an_echo_without_its_quote_pays_the_same_once(shop: PaidGateway, scheme: str, stream: bool) -> None:
    request = chat(stream=stream)
    signature = await shop.sign(await shop.wallet(), request, scheme=scheme)
    paid = await payment_of(await shop.post(request, without_quote(signature)))
    assert (paid["status"], int(paid["amount"])) == ("settled", await shop.balance())
    for again in (signature, without_quote(signature)):
        refused = await shop.post(request, again)
        assert (refused.status, (await refused.json())["error"]["code"]) == (402, "payment_already_used")
    assert len(await shop.paid()) == len(shop.fleet.openai.requests) == 1
    assert len(shop.facilitator.called("verify")) == (0 if scheme == "exact" and stream else 1)


async def test_an_echo_without_its_quote_buys_nothing_dearer(shop: PaidGateway) -> None:
    """Rows 14, 16, 17. What is signed must cover the request at the present price, and be for this payee."""
    wallet = await shop.wallet(opg=10**22)
    cheap = without_quote(await shop.sign(wallet, chat(max_tokens=10)))
    assert (await (await shop.post(chat(max_tokens=30_000), cheap)).json())["error"]["code"] == "quote_too_small"
    required = await shop.required(chat())
    stolen = {**required, "accepts": [{**offer, "payTo": Wallet().address} for offer in required["accepts"]]}
    payload = decode_header(without_quote(await sign(wallet, stolen)))
    ours = {**payload, "accepted": {**payload["accepted"], "payTo": required["accepts"][0]["payTo"]}}
    for echo, code in ((payload, "invalid_payment_requirements"), (ours, "permit2_recipient_mismatch")):
        elsewhere = await shop.post(chat(), encode_header(echo))
        assert (await elsewhere.json())["error"]["code"] == code
    vast = {**required, "accepts": [{**offer, "amount": str(10**22)} for offer in required["accepts"]]}
    refused = await shop.post(chat(), without_quote(await sign(wallet, vast, token=OPG)))
    assert (await refused.json())["error"]["code"] == "invalid_payment_requirements"
    assert await shop.paid() == []


async def test_an_expired_quote_gets_a_new_one(open_shop: OpenShop, define: Define) -> None:
    """Row 14."""
    define(quotes={"seconds": 1})
    shop = await open_shop()
    signature = await shop.sign(await shop.wallet(), chat())
    await asyncio.sleep(2.1)
    response = await shop.post(chat(), signature)
    assert (response.status, (await response.json())["error"]["code"]) == (402, "quote_expired")
    assert decode_header(response.headers["PAYMENT-REQUIRED"])["accepts"]


async def test_a_quote_is_honoured_until_it_expires(shop: PaidGateway) -> None:
    """Row 14. The rate of the quote counts, not the one of the moment it is paid at."""
    request = chat()
    signature = await shop.sign(await shop.wallet(), request, token=OPG)
    shop.prices.usd = shop.prices.usd and shop.prices.usd / 4
    payment = await payment_of(await shop.post(request, signature))
    assert payment["rate"] == "0.10"


@pytest.mark.parametrize(
    "header",
    ["%%%", "e30", encode_header({"x402Version": 1}), encode_header({"x402Version": 2, "payload": {}, "accepted": {}})],
)
async def test_malformed_payments_are_not_invited_again(shop: PaidGateway, header: str) -> None:
    """Facts 1.10.1."""
    response = await shop.post(chat(), header)
    assert response.status == 400
    assert "PAYMENT-REQUIRED" not in response.headers
    assert response.headers["x-should-retry"] == "false"


async def test_two_authorizations_in_one_payload(shop: PaidGateway) -> None:
    """Row 18."""
    wallet, request = await shop.wallet(), chat()
    upto, exact = [decode_header(await shop.sign(wallet, request, scheme=scheme)) for scheme in ("upto", "exact")]
    upto["payload"]["authorization"] = exact["payload"]["authorization"]
    assert (await shop.post(request, encode_header(upto))).status == 400
    swapped = await shop.post(request, encode_header({**exact, "accepted": upto["accepted"]}))
    assert (swapped.status, (await swapped.json())["error"]["code"]) == (402, "unsupported_payload_type")
    assert await shop.paid() == []


async def test_a_header_that_is_too_large(shop: PaidGateway) -> None:
    """Row 19. Below the limit an EIP-2612 echo passes, which is over aiohttp's own 8190 bytes."""
    request = chat()
    payload = decode_header(await shop.sign(await shop.wallet(), request))
    fits = await shop.post(request, encode_header({**payload, "note": "x" * 8000}))
    assert fits.status == 200
    assert (await shop.post(request, encode_header({**payload, "note": "x" * 13_000}))).status == 400


async def test_version_1_is_told_what_is_spoken(shop: PaidGateway) -> None:
    response = await shop.gateway.post(CHAT_PATH, chat(), headers={"X-PAYMENT": "e30="})
    assert response.status == 402
    assert "version 1" in (await response.json())["error"]["message"]
    assert decode_header(response.headers["PAYMENT-REQUIRED"])["x402Version"] == 2


async def test_bad_requests_meet_no_money(shop: PaidGateway) -> None:
    """Facts 1.11. The payment is left as it was and buys the corrected request."""
    signature = await shop.sign(await shop.wallet(), chat())
    assert (await shop.post({**chat(), "n": "many"}, signature)).status == 400
    assert (await shop.post({**chat(), "model": "gpt-0"}, signature)).status == 404
    assert shop.facilitator.called("verify") == []
    assert await shop.entries() == []
    assert (await shop.post(chat(), signature)).status == 200


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_unpaid_body_is_quoted_from_its_length(shop: PaidGateway, announced: bool) -> None:
    """Nothing of it is read for the price; what it may cost at most is quoted, and the same body may come with it."""
    encoded = json.dumps(chat("x" * 2**20, model="gpt-5-mini")).encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield encoded

    async def send(**headers: str) -> aiohttp.ClientResponse:
        data, kind = BytesIO(encoded) if announced else chunks(), {"Content-Type": "application/json"}
        async with shop.gateway.session.post(shop.url + CHAT_PATH, data=data, headers=kind | headers) as response:
            await response.read()
            return response

    unpaid = await send()
    assert unpaid.status == 402
    required = decode_header(unpaid.headers["PAYMENT-REQUIRED"])
    assert {offer["amount"] for offer in required["accepts"] if offer["asset"] == USDC.address} == {"1000000"}
    assert not shop.fleet.openai.requests
    paid = await send(**{"PAYMENT-SIGNATURE": await sign(await shop.wallet(), required)})
    assert (await payment_of(paid))["status"] == "settled"


async def test_a_body_that_no_payment_can_buy_an_answer_for_gets_no_offer(shop: PaidGateway) -> None:
    request = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {33 * 2**20}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(shop.url).port)
    writer.write(f"{request}Content-Type: application/json\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")
    writer.close()
