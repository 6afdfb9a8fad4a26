"""Payment headers that are base64 of anything at all: refused, never a fault of ours."""

import base64

import pytest

from gateway.billing.x402 import MalformedPaymentError, read_payment

GARBAGE = [b"", b"\xff", b'{"x402Version": "\xba"}', b"[" * 5000, b"{" * 5000, b'{"a":' * 5000, b"null", b"\x00"]


@pytest.mark.parametrize("raw", GARBAGE)
def test_payments(raw: bytes) -> None:
    with pytest.raises(MalformedPaymentError):
        read_payment(base64.b64encode(raw).decode(), max_bytes=65_536, max_depth=16)
