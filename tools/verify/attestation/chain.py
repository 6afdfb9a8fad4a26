"""The certificate path from the pinned root to the enclave's leaf (facts/enclave.md 2.2).

Implemented here rather than with an X.509 verifier: Nitro's certificates have neither the names nor the extended key
usages that such verifiers require, their order is given, and AWS advises against checking revocation.
"""

import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from tools.verify.attestation.document import Document

_SUPPORTED_EXTENSIONS = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}

_PARSE_ERRORS = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    Warning,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class ChainError(Exception):
    """The path does not lead from the trusted root to the leaf, or a certificate is not allowed in its position."""


CertificatePath = tuple[x509.Certificate, ...]
Extension = TypeVar("Extension", bound=x509.ExtensionType)


def load_path(document: Document) -> CertificatePath:
    """Parse the document's certificates, root first and leaf last, without verifying them. Raises ChainError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            path = tuple(x509.load_der_x509_certificate(der) for der in (*document.cabundle, document.certificate))
            for certificate in path:
                _ = certificate.extensions, certificate.public_key(), certificate.subject, certificate.issuer
                _ = certificate.signature_algorithm_oid, certificate.not_valid_after_utc
    except _PARSE_ERRORS as error:
        raise ChainError(f"a certificate cannot be read: {type(error).__name__}") from None
    return path


def check_path(path: CertificatePath, root: x509.Certificate) -> None:
    """Verify ``path`` up to ``root``, except for validity periods. Raises ChainError."""
    if path[0].public_bytes(Encoding.DER) != root.public_bytes(Encoding.DER):
        raise ChainError("untrusted root: the bundle does not begin with the trusted certificate")
    *issuers, leaf = (root, *path[1:])
    for position, ca in enumerate(issuers):
        _check_certificate(ca)
        _check_ca(ca, below=len(issuers) - 1 - position)
    _check_certificate(leaf)
    _check_leaf(leaf)
    for issuer, certificate in zip((root, *issuers), path, strict=True):
        _check_issuer(certificate, issuer)


def check_validity(path: Sequence[x509.Certificate], time: datetime) -> None:
    """Check all validity periods at ``time``. Raises ChainError for the invalid certificate nearest the leaf."""
    for certificate in reversed(path):
        if time < certificate.not_valid_before_utc:
            raise ChainError(f"{_name(certificate)} is not valid before {certificate.not_valid_before_utc:%FT%TZ}")
        if time > certificate.not_valid_after_utc:
            raise ChainError(f"{_name(certificate)} expired at {certificate.not_valid_after_utc:%FT%TZ}")


def check_leaf_signature(leaf: x509.Certificate, signature: bytes, signed: bytes) -> None:
    """Verify ES384 over ``signed``; ``signature`` is r ‖ s, 48 bytes each. Raises InvalidSignature."""
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise InvalidSignature
    half = len(signature) // 2
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA384()))


def _check_certificate(certificate: x509.Certificate) -> None:
    key = certificate.public_key()
    if certificate.version is not x509.Version.v3:
        raise ChainError(f"{_name(certificate)} is not an X.509 v3 certificate")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ChainError(f"{_name(certificate)} has a key that is not on P-384")
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
        raise ChainError(f"{_name(certificate)} is not signed with ECDSA and SHA-384")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _SUPPORTED_EXTENSIONS:
            raise ChainError(f"{_name(certificate)} has an unknown critical extension {extension.oid.dotted_string}")


def _check_ca(certificate: x509.Certificate, *, below: int) -> None:
    """``below`` is the number of CA certificates that follow in the path."""
    constraints, usage = _extension(certificate, x509.BasicConstraints), _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca:
        raise ChainError(f"{_name(certificate)} is not an authority")
    if constraints.path_length is not None and constraints.path_length < below:
        raise ChainError(f"{_name(certificate)} allows {constraints.path_length} authorities below it, not {below}")
    if usage is None or not usage.key_cert_sign:
        raise ChainError(f"{_name(certificate)} may not sign certificates")


def _check_leaf(certificate: x509.Certificate) -> None:
    constraints, usage = _extension(certificate, x509.BasicConstraints), _extension(certificate, x509.KeyUsage)
    if constraints is not None and constraints.ca:
        raise ChainError(f"{_name(certificate)} is an authority, not a leaf")
    if usage is None or not usage.digital_signature:
        raise ChainError(f"{_name(certificate)} may not sign documents")


def _check_issuer(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise ChainError(f"{_name(certificate)} was not issued by {_name(issuer)}") from None


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else "a certificate without a name"
