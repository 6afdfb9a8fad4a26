"""Fetch a live gateway's attestation document, TLS certificate and signing key."""

from tools.verify.attestation.document import MAX_BASE64_BYTES
from tools.verify.errors import UsageError
from tools.verify.fetch import Fetched, fetch, origin

NITRIDING_NONCE_BYTES = 20


def fetch_document(url: str, nonce: bytes) -> Fetched:
    """``GET /enclave/attestation?nonce=…`` of the URL's origin; nitriding requires a nonce of 20 bytes."""
    if len(nonce) != NITRIDING_NONCE_BYTES:
        raise UsageError(f"a nonce for nitriding must be {NITRIDING_NONCE_BYTES} bytes, not {len(nonce)}")
    return fetch(f"{origin(url)}/enclave/attestation?nonce={nonce.hex()}", limit=MAX_BASE64_BYTES)


def fetch_signing_key(url: str) -> bytes:
    """The body of ``/signing-key`` of the URL's origin."""
    return fetch(f"{origin(url)}/signing-key").body
