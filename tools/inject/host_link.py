"""The gateway as its own host reaches it: the sealing key, and the one call that takes a bundle.

Nothing that comes over this link is believed: the sealing key has to carry the attested key's signature, and so has
the receipt for the bundle.
"""

import base64
import http.client
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.key_sealing import SUITE_IDS, injection_statement, sealing_key_statement
from tools.inject.attested import RefusedError
from tools.verify import strict_json
from tools.verify.errors import MalformedError, UnreachableError, VerifyError
from tools.verify.fetch import fetch, origin, unverified_connection
from tools.verify.signing_key import SigningKey

PATH = "/v1/keys"
_TIMEOUT_SECONDS = 60.0
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_REASON = 300
_NOT_AS_AGREED = (MalformedError, KeyError, ValueError, TypeError)
_PSS = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)


class RejectedError(VerifyError):
    """The gateway did not take the bundle."""

    exit_code = 4


def fetch_sealing_key(url: str, key: SigningKey) -> bytes:
    """The 32 bytes of the sealing key, signed by ``key``. Raises RefusedError for one that is not."""
    fetched = fetch(f"{origin(url)}{PATH}/sealing-key")
    if fetched.status != 200:
        raise UnreachableError(f"{url}{PATH}/sealing-key answered {fetched.status}")
    try:
        return _vouched_for(strict_json.loads_object(fetched.body), key)
    except _NOT_AS_AGREED:
        raise RefusedError(f"what {url}{PATH}/sealing-key answered is no sealing key") from None
    except InvalidSignature:
        raise RefusedError("the sealing key is not signed by the attested key: somebody is in between") from None


def _vouched_for(offer: dict[str, Any], key: SigningKey) -> bytes:
    if any(offer.get(name) != number for name, number in SUITE_IDS.items()):
        raise MalformedError("of another suite")
    public = base64.b64decode(offer["public_key"], validate=True)
    if len(public) != 32:
        raise MalformedError("of another length")
    _verify(key, offer["signature"], sealing_key_statement(key.tee_id, public))
    return public


def post_bundle(url: str, sealed: str, key: SigningKey) -> dict[str, Any]:
    """Hand the bundle over; the gateway's answer.

    Raises RejectedError for anything but 200, and RefusedError without a receipt signed by ``key``.
    """
    connection = unverified_connection(origin(url), seconds=_TIMEOUT_SECONDS)
    try:
        connection.connect()
        connection.sock.settimeout(_TIMEOUT_SECONDS)
    except OSError as error:
        raise UnreachableError(f"{url}{PATH} cannot be reached: {str(error) or type(error).__name__}") from None
    try:
        connection.request("POST", PATH, json.dumps({"sealed": sealed}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read(_MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException, KeyboardInterrupt) as error:
        raise RefusedError(
            f"the bundle was sent, but no receipt came ({str(error) or type(error).__name__}): the keys may be in. Try "
            "again, and if that is answered 409, end this enclave and start another: nobody can tell whose keys it has"
        ) from None
    finally:
        connection.close()
    if response.status != 200:
        raise RejectedError(f"{url}{PATH} answered {response.status}{_reason(body)}{_ADVICE.get(response.status, '')}")
    try:
        answer = strict_json.loads_object(body)
        _verify(key, answer["receipt"], injection_statement(key.tee_id, sealed))
    except (*_NOT_AS_AGREED, InvalidSignature):
        raise RefusedError(
            "the bundle was sent, but its receipt is not signed by the attested key: somebody is in between, "
            "and the enclave may hold other keys than these"
        ) from None
    return answer


def _verify(key: SigningKey, signature: str, message: bytes) -> None:
    key.public_key.verify(base64.b64decode(signature, validate=True), message, _PSS, SHA256())


_ADVICE = {
    403: "; give --url the host link, not the public address",
    409: "; somebody was first: unless that was you, end this enclave and start another",
}


def _reason(body: bytes) -> str:
    try:
        message = strict_json.loads_object(body)["error"]["message"]
    except (MalformedError, KeyError, TypeError):
        return ""
    return ": " + "".join(char if char.isprintable() else " " for char in str(message)[:_MAX_REASON])
