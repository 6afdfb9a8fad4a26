"""The header codecs: what clients send is read, everything else is refused in words."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from x402.http.utils import decode_payment_required_header, decode_payment_response_header

from gateway.billing import x402
from gateway.billing.authorization import read
from gateway.billing.x402 import MalformedPaymentError, read_payment
from tests.billing import payers

ADDRESS = "0x" + "a1" * 20


def transfer(**changes: Any) -> dict[str, Any]:
    authorization = {
        "from": ADDRESS,
        "to": payers.PAYEE,
        "value": "1000",
        "validAfter": "0",
        "validBefore": "1795380607",
        "nonce": "0x" + "5c" * 32,
    }
    return {"signature": "0x" + "11" * 65, "authorization": authorization | changes}


def permit(**changes: Any) -> dict[str, Any]:
    authorization = {
        "from": ADDRESS,
        "permitted": {"token": ADDRESS, "amount": "5"},
        "spender": ADDRESS,
        "nonce": "77",
        "deadline": "1795380607",
        "witness": {"to": payers.PAYEE, "facilitator": ADDRESS, "validAfter": "0"},
    }
    return {"signature": "0x" + "11" * 65, "permit2Authorization": authorization | changes}


def parse(header: str) -> x402.PaymentPayload:
    return read_payment(header, max_bytes=16384, max_depth=12)


def read_all(payload: dict[str, Any]) -> Any:
    return read(parse(payers.header(payload, {})).payload)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("A" * 16385, "exceeds the limit of 16384"),
        ("not base64!", "not standard base64"),
        ("eyJ4NDAyVmVyc2lvbiI6Mn0", "not standard base64"),
        ("eyJ4NDAyVmVyc2lvbiI6Mn0=\n", "not standard base64"),
        ("é", "not standard base64"),
        (base64.b64encode(b"{").decode(), "is not JSON"),
        (base64.b64encode(b"\xff\xfe").decode(), "is not JSON"),
        (base64.b64encode(b"[" * 9000).decode(), "is not JSON"),
        (base64.b64encode(b"[]").decode(), "JSON object"),
        (payers.encode({"x402Version": 1}), "x402Version must be 2"),
        (payers.encode({"x402Version": 2.5}), "x402Version must be 2"),
        (payers.encode({"x402Version": "2"}), "x402Version must be 2"),
        (payers.encode({"payload": {}}), "x402Version must be 2"),
        (payers.encode({"x402Version": 2}), "payload"),
        (payers.header({}, {}), "signature"),
        (payers.header({"signature": "0x11"}, {}), "exactly one"),
        (payers.header(transfer() | permit(), {}), "exactly one"),
        (payers.header(transfer() | {"extra": 1}, {}), "unknown field `extra`"),
        (payers.header(transfer(extra="1"), {}), "unknown field `extra`"),
        (payers.header(transfer(value=1000), {}), "Expected `str`"),
        (payers.header(transfer(), {"a": json.loads("[" * 14 + "]" * 14)}), "deeper than 12"),
    ],
)
def test_malformed_headers_are_refused(header: str, says: str) -> None:
    with pytest.raises(MalformedPaymentError, match=says):
        parse(header)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (transfer(value="01000"), "'authorization.value' is not a canonical unsigned integer"),
        (transfer(value="-1"), "'authorization.value' is not a canonical"),
        (transfer(validAfter="1e3"), "'authorization.validAfter' is not a canonical"),
        (transfer(validBefore="١"), "'authorization.validBefore' is not a canonical"),
        (transfer(value="0x10"), "'authorization.value' is not a canonical"),
        (transfer(value=str(2**256)), "'authorization.value' is more than 256 bits"),
        (transfer(nonce="0x5c"), "'authorization.nonce' is not 32 bytes"),
        (transfer(nonce="7"), "'authorization.nonce' is not 0x"),
        (transfer(**{"from": ADDRESS[:-2]}), "'authorization.from' is not a 20-byte address"),
        (transfer(to="0X" + "g" * 40), "'authorization.to' is not 0x"),
        (permit(nonce="0x" + "f" * 65), "'permit2Authorization.nonce' is not a canonical"),
        (permit(nonce=""), "'permit2Authorization.nonce' is not a canonical"),
        (permit(deadline="0x1"), "'permit2Authorization.deadline' is not a canonical"),
        (permit(permitted={"token": ADDRESS, "amount": "1.5"}), "'permit2Authorization.permitted.amount' is not a"),
        (permit(witness={"to": "0x", "validAfter": "0"}), "'permit2Authorization.witness.to' is not a 20-byte"),
        ({**transfer(), "signature": "11"}, "'signature' is not 0x"),
        ({**transfer(), "signature": "0x1"}, "'signature' is not 0x"),
    ],
)
def test_values_that_are_not_canonical_are_refused(payload: dict[str, Any], says: str) -> None:
    with pytest.raises(MalformedPaymentError, match=says):
        read_all(payload)


def test_encodings_of_one_authorization_are_one_authorization() -> None:
    plain = read_all(permit(nonce="255"))
    shouted = permit(nonce="0xFF", spender=ADDRESS.upper().replace("0X", "0x"))
    assert read_all(shouted) == plain
    assert read_all(permit(nonce="0x" + "00" * 31 + "ff")) == plain
    spaced = base64.b64encode(json.dumps(json.loads(base64.b64decode(payers.header(permit(), {}))), indent=3).encode())
    assert read(parse(spaced.decode()).payload) == read_all(permit())


def test_what_is_forwarded_reads_back_the_same() -> None:
    for payload in (transfer(), permit(nonce="0xff")):
        authorization = read_all(payload)
        assert read_all(authorization.payload()) == authorization
        assert authorization.payload().keys() == payload.keys()


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_break_the_parser(raw: bytes) -> None:
    for header in (raw.decode("latin-1"), base64.b64encode(raw).decode()):
        with pytest.raises(MalformedPaymentError):
            parse(header)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([ADDRESS, "0x11", "5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["from", "to", "witness"]), inner),
    max_leaves=8,
)


@given(st.sampled_from(["authorization", "permit2Authorization", "signature"]), json_values)
def test_no_json_breaks_the_reader(key: str, value: Any) -> None:
    base = transfer() if key == "authorization" else permit()
    try:
        read_all(base | {key: value})
    except MalformedPaymentError:
        return
    assert key == "signature"


def test_payment_required_reads_back_in_the_stock_client() -> None:
    wire = payers.requirements()
    required = x402.PaymentRequired(
        x402_version=2,
        error="why",
        resource=x402.Resource(url="https://gw.example/v1/chat/completions", mime_type="application/json"),
        accepts=[payers.terms().requirements],
    )
    stock = decode_payment_required_header(x402.write_header(required))
    assert stock.model_dump(by_alias=True, exclude_none=True)["accepts"] == [wire]


def test_payment_response_reads_back_in_the_stock_client() -> None:
    settled = x402.SettleResponse(success=True, transaction="0xab", network="eip155:8453", payer=ADDRESS, amount="12")
    stock = decode_payment_response_header(x402.write_header(settled))
    assert (stock.success, stock.transaction, stock.amount) == (True, "0xab", "12")


@pytest.mark.parametrize(("success", "reason"), [(True, None), (False, "settlement_pending")])
def test_a_payment_response_without_transaction_reads_back_in_the_stock_client(
    success: bool, reason: str | None
) -> None:
    """What was waived, pending or refused has none: the field is there all the same."""
    told = x402.SettleResponse(success=success, network="eip155:8453", payer=ADDRESS, error_reason=reason)
    stock = decode_payment_response_header(x402.write_header(told))
    assert (stock.success, stock.transaction, stock.error_reason) == (success, "", reason)
