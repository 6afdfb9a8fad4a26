"""Identifies the caller of a request, before anything in it is verified."""

import hashlib
from base64 import b64decode

import msgspec
from aiohttp import web

from gateway.billing.x402 import PAYMENT_SIGNATURE
from gateway.http_server.client_address import client_address

_MAX_KEY_LENGTH = 512


def caller_key(request: web.BaseRequest) -> str:
    """Separates callers in caches, so that none sees what another has left there. Stored only as a hash.

    Short, since it is hashed with every tool call of a conversation.
    """
    headers = request.headers
    key = f"{headers.get('Authorization', '')}\0{headers.get('X-Forwarded-For', '')}"
    return key if len(key) <= _MAX_KEY_LENGTH else _digest(key)


def queue_key(request: web.BaseRequest) -> tuple[str, str]:
    """The request's key in the fair queue: client address, and a digest of payer and account.

    The payer is the one that the payment names, not yet verified. Naming somebody else's gains nothing: keys are
    separate per address, and verification comes next.
    """
    headers = request.headers
    identity = _payer(headers.get(PAYMENT_SIGNATURE, "")), headers.get("Authorization", "")
    return client_address(request), _digest(*identity)


class _Authorization(msgspec.Struct):
    from_: str = msgspec.field(name="from")


class _Payload(msgspec.Struct, rename="camel"):
    authorization: _Authorization | None = None
    permit2_authorization: _Authorization | None = None


class _Payment(msgspec.Struct):
    payload: _Payload


_payment = msgspec.json.Decoder(_Payment)


def _payer(header: str) -> str:
    """The payer's address in lower case; empty if the header holds no readable payment."""
    if not header:
        return ""
    try:
        payload = _payment.decode(b64decode(header)).payload
    except (ValueError, RecursionError):
        return ""
    authorization = payload.authorization or payload.permit2_authorization
    return authorization.from_.lower() if authorization else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
