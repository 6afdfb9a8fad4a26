"""Who asks, as far as a request tells before anything of it is checked."""

import binascii
import hashlib
from base64 import b64decode

import msgspec
from aiohttp import web

from gateway.billing.x402 import PAYMENT_SIGNATURE
from gateway.http_server.client_address import client_address


def caller_key(request: web.BaseRequest) -> str:
    """What tells callers apart, so that what one left behind is not shown to another. Kept only hashed."""
    headers = request.headers
    return f"{headers.get('Authorization', '')}\0{headers.get('X-Forwarded-For', '')}"


def turn(request: web.BaseRequest) -> tuple[str, str]:
    """Whose turn a request takes in the queue: the address it comes from, and there the payer or the account.

    The payer is the one that the payment names, not yet verified: who names another takes that one's turns from
    among his own address's only, and gets no further than the verification.
    """
    headers = request.headers
    identity = _payer(headers.get(PAYMENT_SIGNATURE, "")), headers.get("Authorization", "")
    return client_address(request), _digest(*identity)


class _Signer(msgspec.Struct):
    from_: str = msgspec.field(name="from")


class _Payload(msgspec.Struct, rename="camel"):
    authorization: _Signer | None = None
    permit2_authorization: _Signer | None = None


class _Payment(msgspec.Struct):
    payload: _Payload


_payment = msgspec.json.Decoder(_Payment)


def _payer(header: str) -> str:
    """The address that pays, in lower case; empty without a payment that could be read."""
    if not header:
        return ""
    try:
        payload = _payment.decode(b64decode(header)).payload
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        return ""
    signer = payload.authorization or payload.permit2_authorization
    return signer.from_.lower() if signer else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
