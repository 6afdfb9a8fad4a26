"""Offers: what is in them, and which of them are recognised when they come back."""

import copy
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from x402.client import x402Client
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.upto.client import UptoEvmScheme
from x402.schemas import PaymentRequired as StockRequired

from gateway.billing import capabilities
from gateway.billing.authorization import RefusedPaymentError
from gateway.billing.capabilities import UnusableFacilitatorError
from gateway.billing.estimate import Estimator
from gateway.billing.pricing import worst_case
from gateway.billing.x402 import Supported, SupportedKind, read_payment, write_header
from gateway.openai_api.errors import GatewayError
from tests.billing import payers
from tests.billing.quoting import DEFINITIONS, NOW, PATH, URL, USD, QuoterHarness, supported


@pytest.mark.parametrize(
    ("path", "description"), [("chat/completions", "Chat completion"), ("completions", "Text completion")]
)
def test_the_resource_is_described_as_what_it_is(harness: QuoterHarness, path: str, description: str) -> None:
    required = harness.quoter.required(f"https://gw.example/v1/{path}", USD, "pay", NOW, stream=False)
    assert required.resource.description == description


def test_offers_come_in_the_order_of_preference_and_round_up(harness: QuoterHarness) -> None:
    offers = harness.accepts()
    assert [(offer["scheme"], offer["extra"]["assetTransferMethod"], offer["amount"]) for offer in offers] == [
        ("upto", "permit2", "2685284640171858217"),
        ("upto", "permit2", "250000"),
        ("exact", "eip3009", "250000"),
        ("exact", "permit2", "250000"),
    ]
    assert [offer["extra"].get("facilitatorAddress") for offer in offers] == [payers.FACILITATOR] * 2 + [None] * 2
    assert [offer["extra"].get("price_basis") for offer in offers] == [None] * 2 + ["maximum"] * 2
    assert all("paymentFlow" not in offer["extra"] for offer in offers)
    assert offers[0]["extra"]["name"] == "OpenGradient"


def test_exact_is_upfront_on_a_stream_and_alone_for_debtors(harness: QuoterHarness) -> None:
    flows = [offer["extra"].get("paymentFlow") for offer in harness.accepts(stream=True)]
    assert flows == [None, None, "upfront", "upfront"]
    offers = harness.accepts(upfront_only=True)
    assert [(offer["scheme"], offer["extra"].get("paymentFlow")) for offer in offers] == [("exact", "upfront")] * 2


def test_without_a_price_opg_is_not_offered(harness: QuoterHarness) -> None:
    harness.rates.opg = None
    assert {offer["asset"] for offer in harness.accepts()} == {DEFINITIONS.tokens["usdc"].address}


def test_the_header_is_small_and_stays_within_a_dollar(harness: QuoterHarness) -> None:
    required = harness.quoter.required("https://gw.example/" + "a" * 5000, None, "pay", NOW, stream=True)
    assert len(write_header(required)) < 8000
    usdc = [offer for offer in required.accepts if offer.asset == DEFINITIONS.tokens["usdc"].address]
    assert {offer.amount for offer in usdc} == {"1000000"}


@pytest.mark.parametrize(("extensions", "declared"), [((), False), (("eip2612GasSponsoring",), True)])
def test_eip2612_is_declared_only_when_the_facilitator_takes_it(
    harness: QuoterHarness, extensions: tuple[str, ...], declared: bool
) -> None:
    harness.capabilities = capabilities.read(supported("eip155:8453", extensions=extensions), DEFINITIONS)
    assert ("eip2612GasSponsoring" in harness.required().extensions) == declared


@pytest.mark.parametrize(("token", "declared"), [("opg", True), ("usdc", True), (None, False)])
def test_eip2612_is_declared_only_for_tokens_that_have_it(
    harness: QuoterHarness, token: str | None, declared: bool
) -> None:
    harness.quoter = harness.make(supports_permits=lambda each: each.id == token)
    assert ("eip2612GasSponsoring" in harness.required().extensions) == declared


def test_every_offer_comes_back_from_any_worker_until_it_expires(harness: QuoterHarness) -> None:
    worker = harness.make()
    for offer in harness.accepts(stream=True):
        echoed = json.loads(json.dumps(dict(reversed(offer.items()))))
        terms = worker.accept(echoed, {"url": URL}, PATH, NOW + 300, stream=True)
        assert (terms.scheme, str(terms.amount)) == (offer["scheme"], offer["amount"])
        assert terms.upfront == (offer["scheme"] == "exact")
        assert worker.covers(terms, USD)
        assert not worker.covers(terms, USD + Decimal("0.000001"))
        with pytest.raises(RefusedPaymentError, match="expired"):
            worker.accept(echoed, None, PATH, NOW + 301, stream=True)


def test_an_echo_whose_numbers_are_floats_is_ours(harness: QuoterHarness) -> None:
    """JSON libraries that know no integers (Gson, Moshi) write 600 as 600.0."""
    offer = harness.accepts()[0]
    quote = offer["extra"]["quote"]
    floats = {
        **offer,
        "maxTimeoutSeconds": 600.0,
        "extra": {**offer["extra"], "quote": {**quote, "expires": NOW + 300}},
    }
    authorization = {"from": "", "to": "", "value": "", "validAfter": "", "validBefore": "", "nonce": ""}
    payload = {"signature": "", "authorization": authorization}
    echo = read_payment(payers.header(payload, floats, x402Version=2.0), max_bytes=16384, max_depth=12)
    assert harness.accept(echo.accepted) == harness.accept(offer)


def test_the_rate_is_the_quotes_not_todays(harness: QuoterHarness) -> None:
    offer = harness.accepts()[0]
    harness.rates.opg = Decimal("0.04")
    terms = harness.accept(offer, now=NOW + 10)
    assert terms.rate == Decimal("0.0931")
    assert harness.quoter.covers(terms, USD)
    harness.rates.opg = None
    assert harness.accept(offer, now=NOW + 10) == terms


def change(path: list[str], value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(offer: dict[str, Any]) -> None:
        target = offer
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    "tamper",
    [
        change(["amount"], "1"),
        change(["scheme"], "exact"),
        change(["network"], "eip155:84532"),
        change(["asset"], payers.PAYEE),
        change(["payTo"], payers.FACILITATOR),
        change(["maxTimeoutSeconds"], 60),
        change(["maxTimeoutSeconds"], "600"),
        change(["extra", "facilitatorAddress"], payers.PAYEE),
        change(["extra", "name"], "Other"),
        change(["extra", "paymentFlow"], "upfront"),
        change(["extra", "quote", "rate"], "9"),
        change(["extra", "quote", "expires"], 2**40),
        change(["extra", "quote", "mac"], "00" * 16),
        change(["extra", "quote", "mac"], None),
        change(["extra", "quote", "mac"], "é"),
        change(["extra", "quote"], "none"),
        change(["extra"], {}),
        change(["extra"], None),
        change(["more"], 1),
        change(["extra", "more"], 1),
    ],
)
def test_a_changed_offer_is_not_ours(harness: QuoterHarness, tamper: Callable[[dict[str, Any]], None]) -> None:
    offer = copy.deepcopy(harness.accepts()[0])
    tamper(offer)
    with pytest.raises(RefusedPaymentError) as refused:
        harness.accept(offer)
    assert refused.value.reason == "invalid_payment_requirements"


def test_an_offer_of_another_key_payee_facilitator_or_resource_does_not_hold(harness: QuoterHarness) -> None:
    offer = harness.accepts()[0]
    with pytest.raises(RefusedPaymentError, match="not offered by this gateway"):
        harness.make(mac_key=b"x" * 32).accept(offer, None, PATH, NOW, stream=False)
    with pytest.raises(RefusedPaymentError, match="no longer offered"):
        harness.make(payee=payers.FACILITATOR).accept(offer, None, PATH, NOW, stream=False)
    others = msgspec.structs.replace(DEFINITIONS, offers=DEFINITIONS.offers[1:])
    with pytest.raises(RefusedPaymentError, match="no longer offered"):
        harness.make(definitions=others).accept(offer, None, PATH, NOW, stream=False)
    for url in ("https://gw.example/v1/completions", "http://["):
        with pytest.raises(RefusedPaymentError, match="another resource"):
            harness.accept(offer, {"url": url})
    moved = supported("eip155:8453")
    harness.capabilities = capabilities.read(
        msgspec.structs.replace(
            moved,
            kinds=[
                msgspec.structs.replace(kind, extra={"facilitatorAddress": "0x" + "44" * 20}) for kind in moved.kinds
            ],
            signers={},
        ),
        DEFINITIONS,
    )
    with pytest.raises(RefusedPaymentError, match="signing keys have changed"):
        harness.accept(offer)
    assert harness.accept(harness.accepts()[0]).facilitator == bytes.fromhex("44" * 20)


def test_any_signer_of_the_facilitator_may_be_named(harness: QuoterHarness) -> None:
    offer = harness.accepts()[0]
    rotated = supported("eip155:8453")
    for kind in rotated.kinds:
        if kind.extra is not None:
            kind.extra["facilitatorAddress"] = "0x" + "33" * 20
    harness.capabilities = capabilities.read(rotated, DEFINITIONS)
    assert harness.accept(offer).facilitator == bytes.fromhex("22" * 20)


@pytest.mark.parametrize(
    "answer",
    [
        Supported(kinds=[]),
        Supported(kinds=[SupportedKind(x402_version=1, scheme="exact", network="eip155:8453")]),
        Supported(kinds=[SupportedKind(x402_version=2, scheme="exact", network="solana:1")]),
        Supported(kinds=[SupportedKind(x402_version=2, scheme="upto", network="eip155:8453", extra={})]),
        Supported(
            kinds=[
                SupportedKind(
                    x402_version=2, scheme="upto", network="eip155:8453", extra={"facilitatorAddress": "0x" + "00" * 20}
                )
            ]
        ),
    ],
)
def test_a_facilitator_without_anything_for_us_is_unusable(answer: Supported) -> None:
    with pytest.raises(UnusableFacilitatorError):
        capabilities.read(answer, DEFINITIONS)


def test_the_stock_client_signs_what_it_can_and_its_echo_is_recognised(harness: QuoterHarness) -> None:
    client = x402Client()
    payer: Any = payers.account()
    register_exact_evm_client(client, payer)
    client.register("eip155:*", UptoEvmScheme(payer))
    required = StockRequired.model_validate(msgspec.to_builtins(harness.required()))
    import asyncio

    payload = asyncio.run(client.create_payment_payload(required))
    echo = payload.model_dump(by_alias=True, exclude_none=True)
    terms = harness.accept(echo["accepted"], echo["resource"])
    assert terms.token.symbol == "USDC"
    assert terms.scheme == "upto"


def order(catalog: Any, **changes: Any) -> Any:
    from gateway.billing.payment import Order

    fields: dict[str, Any] = {
        "path": PATH,
        "model": catalog.find("gpt-5"),
        "prompt_tokens": 1000,
        "output_tokens": 100,
        "choices": 1,
        "images": 0,
        "stream": False,
        "headers": {},
        "resource_url": URL,
    }
    return Order(**fields | changes)


def test_the_estimate_fits_the_maximum_by_clamping_the_output() -> None:
    from gateway.catalog import bundled as catalogue

    catalog = catalogue()
    estimator = Estimator(catalog, Decimal("0.05"))
    small = estimator.estimate(order(catalog))
    assert small.output_limit == 100
    assert small.usd >= worst_case(catalog.find("gpt-5"), 1000, 100, 1, 0)
    clamped = estimator.estimate(order(catalog, output_tokens=100_000, choices=2))
    assert clamped.output_limit is not None
    assert clamped.usd <= Decimal("0.05")
    models = [catalog.find("gpt-5")]
    if models[0].replacement:
        models.append(catalog.models[models[0].replacement])
    one_more = max(worst_case(model, 1000, clamped.output_limit + 1, 2, 0) for model in models)
    assert one_more > Decimal("0.05")
    with pytest.raises(GatewayError, match="prompt, images and web searches alone"):
        estimator.estimate(order(catalog, prompt_tokens=250_000))
