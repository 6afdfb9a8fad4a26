"""Echoes of offers that lost their quote: which of them are taken as offers of the moment."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from gateway.billing.authorization import RefusedPaymentError
from tests.billing import payers
from tests.billing.quoting import NOW, URL, USD, QuoterHarness


def typed(offer: dict[str, Any]) -> dict[str, Any]:
    """What an SDK that knows x402's own keys only (r402) leaves of an offer."""
    known = ("name", "version", "assetTransferMethod", "facilitatorAddress")
    return {**offer, "extra": {key: value for key, value in offer["extra"].items() if key in known}}


@pytest.mark.parametrize("stream", [False, True])
def test_an_echo_that_lost_its_quote_is_taken_as_offered_now(harness: QuoterHarness, stream: bool) -> None:
    harness.rates.opg = Decimal("0.0931")
    for offer in harness.accepts(stream=stream):
        quoted = harness.accept(offer, {"url": URL}, stream=stream)
        terms = harness.accept(typed(offer), {"url": URL}, now=NOW + 1000, stream=stream)
        assert msgspec.structs.replace(terms, requirements=quoted.requirements) == quoted
        assert terms.upfront == (stream and terms.scheme == "exact")
    opg = harness.accepts()[0]
    harness.rates.opg = Decimal("0.04")
    assert not harness.quoter.covers(harness.accept(typed(opg)), USD)


def test_the_method_of_an_echo_is_the_first_that_is_offered_unless_it_says_otherwise(harness: QuoterHarness) -> None:
    for offer in map(typed, harness.accepts()):
        del offer["extra"]["assetTransferMethod"]
        assert harness.accept(offer).method == ("permit2" if offer["scheme"] == "upto" else "eip3009")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("amount", amount) for amount in ("0", "-1", "0100", "1" * 30, "x")),
        ("scheme", "exact"),
        ("network", "eip155:84532"),
        ("asset", payers.PAYEE),
        ("asset", "OPG"),
        ("payTo", payers.FACILITATOR),
        ("payTo", "us"),
        ("maxTimeoutSeconds", 300),
        ("extra", {}),
        ("extra", {"assetTransferMethod": ["permit2"]}),
        ("extra", {"assetTransferMethod": "permit2"}),
        ("extra", {"facilitatorAddress": "0x" + "99" * 20}),
        ("extra", {"facilitatorAddress": "0x"}),
        ("extra", {"facilitatorAddress": []}),
    ],
)
def test_an_echo_that_lost_its_quote_must_be_of_an_offer(harness: QuoterHarness, key: str, value: Any) -> None:
    with pytest.raises(RefusedPaymentError):
        harness.accept({**typed(harness.accepts()[0]), key: value})


@pytest.mark.parametrize("key", ["name", "version", "assetTransferMethod", "paymentFlow", "price_basis", "note"])
def test_an_echo_that_lost_its_quote_may_lack_more_but_not_differ(harness: QuoterHarness, key: str) -> None:
    for offer in map(typed, harness.accepts()):
        with pytest.raises(RefusedPaymentError) as refused:
            harness.accept({**offer, "extra": offer["extra"] | {key: "other"}})
        assert refused.value.reason == "invalid_payment_requirements"
        lacking = {**offer, "extra": offer["extra"] | {key: None}}
        assert harness.accept(lacking).scheme == offer["scheme"]


def test_an_echo_of_the_largest_upfront_offer_may_lack_its_quote(harness: QuoterHarness) -> None:
    """What payers in debt are offered, and everybody for a body that is not read before."""
    for offer in harness.accepts(usd=None, upfront_only=True):
        del offer["extra"]["quote"]
        assert harness.accept(offer).upfront


def test_no_facilitator_is_named_in_an_exact_echo(harness: QuoterHarness) -> None:
    offer = typed(harness.accepts()[2])
    with pytest.raises(RefusedPaymentError):
        harness.accept({**offer, "extra": offer["extra"] | {"facilitatorAddress": payers.FACILITATOR}})


def test_the_letter_case_of_addresses_does_not_matter_without_the_quote(harness: QuoterHarness) -> None:
    for offer in map(typed, harness.accepts()):
        lower = {key: str(offer[key]).lower() for key in ("asset", "payTo")}
        extra = {key: value.lower() if value.startswith("0x") else value for key, value in offer["extra"].items()}
        assert harness.accept({**offer, **lower, "extra": extra}) == harness.accept(offer)


def test_what_is_not_offered_now_is_not_taken_without_its_quote(harness: QuoterHarness) -> None:
    offer = harness.accepts()[0]
    harness.rates.opg = None
    assert harness.accept(offer).rate == Decimal("0.0931")
    with pytest.raises(RefusedPaymentError):
        harness.accept(typed(offer))
