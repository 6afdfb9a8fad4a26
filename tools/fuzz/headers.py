"""Payment headers, base64 of JSON, and files as ``data:`` URIs."""

import base64
import json
from random import Random

from gateway.billing.x402 import MalformedPaymentError, read_payment
from gateway.openai_api.errors import GatewayError
from gateway.upstreams import data_uri
from tools.fuzz.mutations import json_value, mutate_bytes, mutate_json
from tools.fuzz.target import BrokenPropertyError, Target

_ADDRESS = "0x" + "11" * 20
_PAYMENT = {
    "x402Version": 2,
    "resource": {"url": "https://example.com/v1/chat/completions"},
    "accepted": {"scheme": "exact", "network": "eip155:8453", "amount": "10", "asset": _ADDRESS, "payTo": _ADDRESS},
    "payload": {
        "signature": "0x" + "22" * 65,
        "authorization": {
            "from": _ADDRESS,
            "to": _ADDRESS,
            "value": "10",
            "validAfter": "0",
            "validBefore": "9",
            "nonce": "0x" + "33" * 32,
        },
    },
}


def _make_header(random: Random) -> str:
    value = mutate_json(random, _PAYMENT, random.randrange(3))
    if random.random() < 0.1:
        value = json_value(random)
    raw = json.dumps(value).encode("utf-8", "surrogatepass")
    if random.random() < 0.1:
        raw = b"[" * 2000 + raw
    if random.random() < 0.2:
        raw = mutate_bytes(random, raw, 2)
    header = base64.b64encode(raw)
    if random.random() < 0.2:
        header = mutate_bytes(random, header, 2)
    return header.decode("utf-8", "surrogateescape")


def _check_header(header: str) -> None:
    try:
        payment = read_payment(header, max_bytes=16_384, max_depth=16)
    except MalformedPaymentError:
        return
    if payment.x402_version != 2:
        raise BrokenPropertyError("another version was accepted")


def _make_uri(random: Random) -> str:
    head = random.choice(("data:", "DATA:", "data", "http:", ""))
    kind = random.choice(("image/png", "image/jpg", "application/pdf;charset=x", "", " text/plain ", "x"))
    mark = random.choice((";base64,", ";BASE64 ,", ",", ";base64"))
    payload = mutate_bytes(random, base64.b64encode(random.randbytes(random.randrange(40))), random.randrange(3))
    return head + kind + mark + payload.decode("utf-8", "surrogateescape")


def _check_uri(uri: str) -> None:
    try:
        parsed = data_uri.parse(uri, "file")
    except GatewayError as error:
        if (error.status, error.code) != (400, "invalid_base64"):
            raise BrokenPropertyError(f"{error.status} {error.code}") from error
        return
    if base64.b64decode(parsed.base64, validate=True) != parsed.decode() or not parsed.decode():
        raise BrokenPropertyError("two readings of one base64 text")
    if parsed.media_type != parsed.media_type.strip().lower() or "/" not in parsed.media_type:
        raise BrokenPropertyError(f"a media type {parsed.media_type!r}")


PAYMENT_HEADERS = Target("payment-headers", _make_header, _check_header)
DATA_URIS = Target("data-uris", _make_uri, _check_uri)
