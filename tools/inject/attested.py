"""Attestation of a live enclave, with every claim required to pass."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from tools.verify.attestation.document import Document, decode
from tools.verify.attestation.measurements import Measurements
from tools.verify.attestation.policy import LIVE_MAX_AGE, Expectations, verify_attestation
from tools.verify.attestation.root import aws_root
from tools.verify.claims import Claim, Verdict
from tools.verify.enclave import NITRIDING_NONCE_BYTES, fetch_document, fetch_signing_key
from tools.verify.errors import MalformedError, UsageError, VerifyError
from tools.verify.inputs import read_certificate
from tools.verify.signing_key import SigningKey, load_signing_key

WAIVED_IN_DEBUG = ("debug", "pcrs")


class UntrustedError(VerifyError):
    """The enclave, its sealing key or its receipt failed verification."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class AttestedEnclave:
    """``raw`` is the document's CBOR, ``certificate`` the DER of the attested TLS certificate."""

    raw: bytes
    document: Document
    certificate: bytes
    key: SigningKey
    claims: list[Claim]


def attest(
    url: str, measurements: Measurements, *, root: x509.Certificate | None = None, allow_debug: bool = False
) -> AttestedEnclave:
    """Fetch a document with a fresh nonce from ``url`` and verify it with the certificate and key served there.

    ``allow_debug`` accepts a debug enclave, whose PCRs are zero. ``root`` replaces the AWS root, for tests. Raises
    UntrustedError, which lists the claims that did not pass.
    """
    nonce = secrets.token_bytes(NITRIDING_NONCE_BYTES)
    fetched = fetch_document(url, nonce)
    if fetched.certificate is None:
        raise UsageError(f"{url} is not https: a TLS certificate is required for attestation")
    try:
        key = load_signing_key(fetch_signing_key(url))
    except MalformedError as error:
        raise UntrustedError(f"the response of {url}/signing-key is {error}") from None
    verification = verify_attestation(
        fetched.body,
        Expectations(
            now=datetime.now(UTC),
            max_age=LIVE_MAX_AGE,
            measurements=measurements,
            nonce=nonce,
            tls_certificates=(fetched.certificate,),
            key=key,
            allow_debug=allow_debug,
            root=root or aws_root(),
        ),
    )
    if wrong := _unsatisfied(verification.claims):
        raise UntrustedError("; ".join(f"{claim.name}: {claim.detail}" for claim in wrong))
    assert verification.document is not None  # noqa: S101 (the claim "format" passed)
    return AttestedEnclave(decode(fetched.body), verification.document, fetched.certificate, key, verification.claims)


def read_root(path: Path | None) -> x509.Certificate | None:
    """A test root, or None for the AWS root."""
    return None if path is None else read_certificate(path, what="root certificate")


def _unsatisfied(claims: list[Claim]) -> list[Claim]:
    """Claims that failed or were skipped, except those that are waived for a debug enclave."""
    debug = any(claim.name == "debug" and claim.verdict is Verdict.SKIP for claim in claims)
    waived = WAIVED_IN_DEBUG if debug else ()
    return [claim for claim in claims if claim.verdict is not Verdict.PASS and claim.name not in waived]
