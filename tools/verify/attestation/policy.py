"""Verification of a document against expectations: one verdict per claim (facts/enclave.md 2.3)."""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from tools.verify.attestation.binding import read_binding
from tools.verify.attestation.chain import (
    CertificatePath,
    ChainError,
    check_leaf_signature,
    check_path,
    check_validity,
    load_path,
)
from tools.verify.attestation.document import Document, parse
from tools.verify.attestation.measurements import COMPARED_PCRS, Measurements
from tools.verify.attestation.root import aws_root
from tools.verify.claims import Claim, Verdict, failed, passed, skip_all, skipped
from tools.verify.errors import MalformedError
from tools.verify.signing_key import SigningKey

CLAIMS = ("format", "chain", "signature", "time", "debug", "pcrs", "nonce", "tls_cert", "key_hash")

LEAF_LIFETIME = timedelta(hours=3)
LIVE_MAX_AGE = timedelta(minutes=5)
MAX_CLOCK_SKEW = timedelta(minutes=1)
_NOT_NITRIDING = "user_data is not nitriding's two hashes in 68 bytes"


@dataclass(frozen=True, slots=True)
class Expectations:
    """The expected values. A claim whose expectation is None or empty is skipped.

    ``now`` is the time of a live check; with None only the validity at the document's timestamp is checked.
    ``tls_certificates`` are DER; each must be the attested one. ``root`` is the only trust anchor.
    """

    now: datetime | None
    max_age: timedelta = LEAF_LIFETIME
    measurements: Measurements | None = None
    nonce: bytes | None = None
    tls_certificates: tuple[bytes, ...] = ()
    key: SigningKey | None = None
    allow_debug: bool = False
    root: x509.Certificate = field(default_factory=aws_root)


@dataclass(frozen=True, slots=True)
class Verification:
    """``document`` is None if the bytes could not be parsed."""

    claims: list[Claim]
    document: Document | None

    @property
    def valid(self) -> bool:
        return all(claim.verdict is not Verdict.FAIL for claim in self.claims)


def verify_attestation(data: bytes, expected: Expectations) -> Verification:
    """Verify the document in ``data`` (raw CBOR or base64): one claim per name in CLAIMS, in that order."""
    try:
        document = parse(data)
    except MalformedError as error:
        return Verification([failed("format", f"malformed: {error}"), *skip_all(CLAIMS[1:], "no document")], None)
    debug = _debug(document, allowed=expected.allow_debug)
    claims = [
        passed("format", f"{document.module_id}, made {document.timestamp.isoformat(timespec='milliseconds')}"),
        *_certificate_claims(document, expected),
        debug,
        _pcrs(document, expected.measurements, debug),
        _nonce(document, expected.nonce),
        _tls_certificate(document, expected.tls_certificates),
        _key_hash(document, expected.key),
    ]
    return Verification(claims, document)


def _certificate_claims(document: Document, expected: Expectations) -> list[Claim]:
    try:
        path = load_path(document)
    except ChainError as error:
        return [failed("chain", str(error)), *skip_all(("signature", "time"), "no certificates to check with")]
    return [_chain(path, expected.root), _signature(document, path), _time(document, path, expected)]


def _chain(path: CertificatePath, root: x509.Certificate) -> Claim:
    try:
        check_path(path, root)
    except ChainError as error:
        return failed("chain", str(error))
    return passed("chain", f"{len(path)} certificates from the pinned root to the enclave")


def _signature(document: Document, path: CertificatePath) -> Claim:
    try:
        check_leaf_signature(path[-1], document.signature, document.signed_bytes)
    except InvalidSignature:
        return failed("signature", "forged: not made by the document's leaf certificate")
    return passed("signature", "ES384 by the document's leaf certificate")


def _time(document: Document, path: CertificatePath, expected: Expectations) -> Claim:
    """Valid when made and, for a live check, still valid and fresh."""
    when_made = _validity_problem(path, document.timestamp)
    if when_made:
        return failed("time", f"not valid when made: {when_made}")
    if expected.now is None:
        return passed("time", f"valid when made ({document.timestamp:%FT%TZ}); freshness was not checked")
    age = expected.now - document.timestamp
    # The leaf is made seconds before the document: by a clock that is behind, it is not valid yet.
    problem = _validity_problem(path, max(expected.now, document.timestamp)) or _age_problem(age, expected.max_age)
    if problem:
        return failed("time", f"not fresh: {problem}; it was valid when made")
    return passed("time", f"valid when made and fresh: {_seconds(age)} s old")


def _validity_problem(path: CertificatePath, time: datetime) -> str | None:
    try:
        check_validity(path, time)
    except ChainError as error:
        return str(error)
    return None


def _age_problem(age: timedelta, max_age: timedelta) -> str | None:
    if age > max_age:
        return f"made {_seconds(age)} s ago, more than {_seconds(max_age)}"
    if age < -MAX_CLOCK_SKEW:
        return f"made {_seconds(-age)} s in the future"
    return None


def _seconds(span: timedelta) -> int:
    return round(span.total_seconds())


def _debug(document: Document, *, allowed: bool) -> Claim:
    """PCR0 to PCR2 are zero in debug mode, in which the host reads the console and nothing is confidential."""
    zero = [f"PCR{index}" for index in COMPARED_PCRS if not any(document.pcrs.get(index, b""))]
    if not zero:
        return passed("debug", "not in debug mode")
    what = f"debug mode: {', '.join(zero)} zero or absent"
    return skipped("debug", f"{what}, which --allow-debug accepts") if allowed else failed("debug", what)


def _pcrs(document: Document, measurements: Measurements | None, debug: Claim) -> Claim:
    if measurements is None:
        return skipped("pcrs", "no measurements given")
    if debug.verdict is Verdict.FAIL:
        return skipped("pcrs", "not compared: debug mode")
    differences = measurements.differences(document.pcrs)
    if differences:
        return failed("pcrs", f"mismatch: {'; '.join(differences)}")
    return passed("pcrs", "PCR0, PCR1 and PCR2 are the expected ones")


def _nonce(document: Document, nonce: bytes | None) -> Claim:
    if nonce is None:
        return skipped("nonce", "no nonce given")
    if document.nonce is None or not hmac.compare_digest(document.nonce, nonce):
        return failed("nonce", "mismatch: the document was not made for this nonce")
    return passed("nonce", f"{len(nonce)} bytes as requested")


def _tls_certificate(document: Document, certificates: tuple[bytes, ...]) -> Claim:
    if not certificates:
        return skipped("tls_cert", "no TLS certificate to compare")
    binding = read_binding(document.user_data)
    if binding is None:
        return failed("tls_cert", _NOT_NITRIDING)
    for certificate in certificates:
        digest = hashlib.sha256(certificate).digest()
        if not hmac.compare_digest(binding.tls_certificate_hash, digest):
            return failed(
                "tls_cert", f"attested {binding.tls_certificate_hash.hex()}, the certificate is {digest.hex()}"
            )
    return passed("tls_cert", binding.tls_certificate_hash.hex())


def _key_hash(document: Document, key: SigningKey | None) -> Claim:
    binding = read_binding(document.user_data)
    if binding is not None and not any(binding.app_key_hash):
        return failed("key_hash", "all zero: the application never registered its key")
    if key is None:
        attested = f" with {binding.app_key_hash.hex()}" if binding else ""
        return skipped("key_hash", f"no signing key to compare{attested}")
    if binding is None:
        return failed("key_hash", _NOT_NITRIDING)
    if not hmac.compare_digest(binding.app_key_hash, key.key_hash):
        return failed("key_hash", f"attested {binding.app_key_hash.hex()}, the key is {key.key_hash.hex()}")
    return passed("key_hash", binding.app_key_hash.hex())
