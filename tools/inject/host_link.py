"""The host-only API of the gateway: fetch the sealing key, post the bundle.

The link is not trusted: both the sealing key and the receipt for the bundle must be signed by the attested key.
"""

import base64
import http.client
import json
from typing import Any

from cryptography.exceptions import InvalidSignature

from gateway.key_sealing import SUITE_IDS, injection_statement, sealing_key_statement
from tools.inject.attested import UntrustedError
from tools.verify import strict_json
from tools.verify.claims import one_line
from tools.verify.errors import MalformedError, UnreachableError, VerifyError
from tools.verify.fetch import fetch, origin, unverified_connection
from tools.verify.signing_key import SigningKey

PATH = "/v1/keys"
_TIMEOUT_SECONDS = 60.0
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_REASON = 300
_MALFORMED = (MalformedError, KeyError, ValueError, TypeError)
_HINTS = {
    403: "; give --url the host link, not the public address",
    409: "; unless you injected them, terminate this enclave and start another",
}


class RejectedError(VerifyError):
    """The gateway rejected the bundle."""

    exit_code = 4


def fetch_sealing_key(url: str, key: SigningKey) -> bytes:
    """Fetch the sealing key (32 bytes). Raises UntrustedError unless it is signed by ``key``."""
    body = fetch(f"{origin(url)}{PATH}/sealing-key").body
    try:
        return _check_sealing_key(strict_json.loads_object(body), key)
    except _MALFORMED:
        raise UntrustedError(f"the response of {url}{PATH}/sealing-key is not a sealing key") from None
    except InvalidSignature:
        raise UntrustedError(
            "the sealing key is not signed by the attested key: the connection may be intercepted"
        ) from None


def _check_sealing_key(info: dict[str, Any], key: SigningKey) -> bytes:
    if any(info.get(name) != number for name, number in SUITE_IDS.items()):
        raise MalformedError("of another suite")
    public = base64.b64decode(info["public_key"], validate=True)
    key.verify(base64.b64decode(info["signature"], validate=True), sealing_key_statement(key.tee_id, public))
    return public


def post_bundle(url: str, sealed: str, key: SigningKey) -> dict[str, Any]:
    """Post the bundle and return the gateway's response.

    Raises RejectedError for a status other than 200, and UntrustedError without a receipt signed by ``key``.
    """
    status, body = _post(url, json.dumps({"sealed": sealed}))
    if status != 200:
        raise RejectedError(f"{url}{PATH} returned {status}{_reason(body)}{_HINTS.get(status, '')}")
    try:
        answer = strict_json.loads_object(body)
        key.verify(base64.b64decode(answer["receipt"], validate=True), injection_statement(key.tee_id, sealed))
    except (*_MALFORMED, InvalidSignature):
        raise UntrustedError(
            "the bundle was sent, but its receipt is not signed by the attested key: the connection may be "
            "intercepted, and the enclave may hold keys other than these"
        ) from None
    return answer


def _post(url: str, body: str) -> tuple[int, bytes]:
    """Status and body of the response. Raises UnreachableError, or UntrustedError once the body may have been sent."""
    connection = unverified_connection(origin(url), seconds=_TIMEOUT_SECONDS)
    try:
        connection.connect()
        connection.sock.settimeout(_TIMEOUT_SECONDS)
    except OSError as error:
        raise UnreachableError(f"{url}{PATH} cannot be reached: {str(error) or type(error).__name__}") from None
    try:
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read(_MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException, KeyboardInterrupt) as error:
        raise UntrustedError(
            f"the bundle was sent, but no receipt came ({str(error) or type(error).__name__}): the keys may have been "
            "injected. Try again; on a 409, terminate this enclave and start another, as it may hold the keys of others"
        ) from None
    finally:
        connection.close()


def _reason(body: bytes) -> str:
    try:
        message = strict_json.loads_object(body)["error"]["message"]
    except (MalformedError, KeyError, TypeError):
        return ""
    return f": {one_line(str(message), _MAX_REASON)}"
