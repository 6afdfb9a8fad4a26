"""Every signed field against our own terms (facts/x402.md 1.10.3, 1.10.5; 4 rows 2, 4, 15, 18)."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.billing.authorization import Authorization, RefusedPaymentError, check, claim_key, read, signed_by_payer
from gateway.billing.definitions import bundled
from gateway.billing.evm import eip2612
from gateway.billing.evm.values import address
from gateway.billing.x402 import MalformedPaymentError, read_payment
from tests.billing import payers

DEFINITIONS = bundled()
NOW = 1_795_000_000
OFFERS = {(offer.scheme, offer.token, offer.method): place for place, offer in enumerate(DEFINITIONS.offers)}
UPTO = OFFERS["upto", "opg", "permit2"]
EXACT_TRANSFER = OFFERS["exact", "usdc", "eip3009"]
EXACT_PERMIT = OFFERS["exact", "usdc", "permit2"]
OTHER = b"\x99" * 20


def signed(offer: int) -> Authorization:
    wire = payers.requirements(offer)
    header = payers.header(payers.client_payload(payers.account(), wire), wire)
    authorization = read(read_payment(header, max_bytes=16384, max_depth=12).payload)
    return replace(authorization, deadline=NOW + 600, valid_after=NOW - 600)


def reason(authorization: Authorization, offer: int) -> str | None:
    try:
        check(authorization, payers.terms(offer), DEFINITIONS.contracts, DEFINITIONS.deadlines, NOW)
    except RefusedPaymentError as error:
        return error.reason
    return None


@pytest.mark.parametrize("offer", range(len(DEFINITIONS.offers)))
def test_what_was_offered_is_accepted(offer: int) -> None:
    assert reason(signed(offer), offer) is None


@pytest.mark.parametrize(
    ("offer", "change", "refused"),
    [
        (UPTO, {"token": OTHER}, "permit2_token_mismatch"),
        (UPTO, {"spender": OTHER}, "invalid_permit2_spender"),
        (UPTO, {"spender": address(DEFINITIONS.contracts.exact_proxy)}, "invalid_permit2_spender"),
        (UPTO, {"facilitator": OTHER}, "upto_facilitator_mismatch"),
        (UPTO, {"facilitator": None}, "upto_facilitator_mismatch"),
        (EXACT_PERMIT, {"facilitator": OTHER}, "upto_facilitator_mismatch"),
        (UPTO, {"payee": OTHER}, "permit2_recipient_mismatch"),
        (UPTO, {"amount": 99_999}, "permit2_amount_mismatch"),
        (UPTO, {"amount": 100_001}, "permit2_amount_mismatch"),
        (UPTO, {"valid_after": NOW + 1}, "permit2_not_yet_valid"),
        (UPTO, {"deadline": NOW + 89}, "permit2_deadline_expired"),
        (UPTO, {"deadline": 2**255}, "permit2_deadline_too_far"),
        (UPTO, {"spender": None}, "unsupported_payload_type"),
        (EXACT_TRANSFER, {"spender": OTHER}, "unsupported_payload_type"),
        (EXACT_TRANSFER, {"payee": OTHER}, "invalid_exact_evm_payload_authorization_recipient_mismatch"),
        (EXACT_TRANSFER, {"amount": 1}, "invalid_exact_evm_payload_authorization_amount_mismatch"),
        (EXACT_TRANSFER, {"deadline": NOW}, "invalid_exact_evm_payload_authorization_deadline_expired"),
    ],
)
def test_a_signed_field_that_differs_is_refused(offer: int, change: dict[str, Any], refused: str) -> None:
    assert reason(replace(signed(offer), **change), offer) == refused


@pytest.mark.parametrize("offer", [UPTO, EXACT_TRANSFER, EXACT_PERMIT])
def test_a_changed_field_is_not_signed(offer: int) -> None:
    wire = payers.requirements(offer)
    header = payers.header(payers.client_payload(payers.account(), wire), wire)
    authorization = read(read_payment(header, max_bytes=16384, max_depth=12).payload)
    terms = payers.terms(offer)
    assert signed_by_payer(authorization, terms, DEFINITIONS.contracts)
    changes: list[dict[str, Any]] = [
        {"amount": authorization.amount + 1},
        {"payee": OTHER},
        {"nonce": authorization.nonce ^ 1},
        {"deadline": authorization.deadline + 1},
        {"valid_after": authorization.valid_after + 1},
        {"payer": OTHER},
    ]
    for change in changes:
        assert not signed_by_payer(replace(authorization, **change), terms, DEFINITIONS.contracts)


def key_of(authorization: Authorization, offer: int) -> bytes:
    terms = payers.terms(offer)
    return claim_key(authorization, terms.network, terms.token, DEFINITIONS.contracts)


def test_the_key_is_chain_contract_payer_and_nonce() -> None:
    authorization = replace(signed(UPTO), nonce=5)
    key = key_of(authorization, UPTO)
    assert key == (
        (8453).to_bytes(8, "big")
        + address(DEFINITIONS.contracts.permit2)
        + authorization.payer
        + (5).to_bytes(32, "big")
    )
    other_values = replace(authorization, amount=7, deadline=9, signature=b"", token=OTHER)
    assert key_of(other_values, UPTO) == key
    transfer = key_of(signed(EXACT_TRANSFER), EXACT_TRANSFER)
    assert transfer[8:28] == address(DEFINITIONS.tokens["usdc"].address)


def riding(authorization: Authorization, **changes: Any) -> dict[str, Any]:
    info = {
        "from": "0x" + authorization.payer.hex(),
        "asset": DEFINITIONS.tokens["opg"].address,
        "spender": DEFINITIONS.contracts.permit2,
        "amount": str(authorization.amount),
        "nonce": "0",
        "deadline": str(authorization.deadline),
        "signature": "0x" + "11" * 64 + "00",
        "version": "1",
        "description": "echoed",
    }
    return {"eip2612GasSponsoring": {"info": info | changes, "schema": {}}}


def test_an_eip2612_permit_is_forwarded_in_our_own_words() -> None:
    authorization, terms = signed(UPTO), payers.terms(UPTO)
    permit = eip2612.read_permit(riding(authorization), authorization, terms, DEFINITIONS.contracts)
    assert permit is not None
    assert permit["info"]["signature"] == "0x" + "11" * 64 + "1b"
    assert "description" not in permit["info"]
    for absent in (None, {}, {"eip2612GasSponsoring": eip2612.DECLARATION}):
        assert eip2612.read_permit(absent, authorization, terms, DEFINITIONS.contracts) is None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"from": payers.PAYEE}, RefusedPaymentError),
        ({"asset": payers.PAYEE}, RefusedPaymentError),
        ({"spender": payers.PAYEE}, RefusedPaymentError),
        ({"amount": "1"}, RefusedPaymentError),
        ({"deadline": "1"}, RefusedPaymentError),
        ({"amount": "01"}, MalformedPaymentError),
        ({"amount": None}, MalformedPaymentError),
        ({"signature": "11"}, MalformedPaymentError),
    ],
)
def test_an_eip2612_permit_for_something_else_is_refused(change: dict[str, Any], error: type[Exception]) -> None:
    authorization = signed(UPTO)
    with pytest.raises(error):
        eip2612.read_permit(riding(authorization, **change), authorization, payers.terms(UPTO), DEFINITIONS.contracts)
