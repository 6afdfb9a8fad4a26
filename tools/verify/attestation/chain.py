"""The certificate path from the pinned root to the enclave's leaf (facts/enclave.md 2.2).

Written out rather than left to an X.509 policy engine: Nitro's certificates carry no names to match and no usages that
such engines expect, the order is given, and revocation is not checked on AWS's own advice.
"""

import warnings
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from tools.verify.attestation.document import Document

_UNDERSTOOD = {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE}

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    Warning,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class ChainError(Exception):
    """The path does not lead from the trusted root to the leaf, or a certificate in it may not stand there."""


Path = tuple[x509.Certificate, ...]


def load_path(document: Document) -> Path:
    """The document's certificates, root first and leaf last, parsed and in order but otherwise unchecked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            path = tuple(x509.load_der_x509_certificate(der) for der in (*document.cabundle, document.certificate))
            for certificate in path:
                _ = certificate.extensions, certificate.public_key(), certificate.subject, certificate.issuer
                _ = certificate.signature_algorithm_oid, certificate.not_valid_after_utc
    except _UNREADABLE as error:
        raise ChainError(f"a certificate cannot be read: {type(error).__name__}") from None
    return path


def check_path(path: Path, root: x509.Certificate) -> None:
    """Every link of ``path`` up to ``root``, apart from time; raises ChainError."""
    if path[0].public_bytes(Encoding.DER) != root.public_bytes(Encoding.DER):
        raise ChainError("untrusted root: the bundle does not begin with the trusted certificate")
    *authorities, leaf = (root, *path[1:])
    for position, authority in enumerate(authorities):
        _check_certificate(authority)
        _check_authority(authority, below=len(authorities) - 1 - position)
    _check_certificate(leaf)
    _check_leaf(leaf)
    for issuer, certificate in zip((root, *authorities), path, strict=True):
        _check_issued(certificate, issuer)


def check_validity(path: Sequence[x509.Certificate], moment: datetime) -> None:
    """Every certificate's validity at ``moment``; raises ChainError naming the one nearest the leaf that is not."""
    for certificate in reversed(path):
        if moment < certificate.not_valid_before_utc:
            raise ChainError(f"{_name(certificate)} is not valid before {certificate.not_valid_before_utc:%FT%TZ}")
        if moment > certificate.not_valid_after_utc:
            raise ChainError(f"{_name(certificate)} expired at {certificate.not_valid_after_utc:%FT%TZ}")


def check_leaf_signature(leaf: x509.Certificate, signature: bytes, signed: bytes) -> None:
    """ES384 of ``signed`` by the leaf's key; ``signature`` is r and s, 48 bytes each. Raises InvalidSignature."""
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
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise ChainError(f"{_name(certificate)} has an unknown critical extension {extension.oid.dotted_string}")


def _check_authority(certificate: x509.Certificate, *, below: int) -> None:
    """``below`` is the number of authorities that follow in the path."""
    constraints, usage = _constraints(certificate), _usage(certificate)
    if constraints is None or not constraints.ca:
        raise ChainError(f"{_name(certificate)} is not an authority")
    if constraints.path_length is not None and constraints.path_length < below:
        raise ChainError(f"{_name(certificate)} allows {constraints.path_length} authorities below it, not {below}")
    if usage is None or not usage.key_cert_sign:
        raise ChainError(f"{_name(certificate)} may not sign certificates")


def _check_leaf(certificate: x509.Certificate) -> None:
    constraints, usage = _constraints(certificate), _usage(certificate)
    if constraints is not None and constraints.ca:
        raise ChainError(f"{_name(certificate)} is an authority, not a leaf")
    if usage is None or not usage.digital_signature:
        raise ChainError(f"{_name(certificate)} may not sign documents")


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise ChainError(f"{_name(certificate)} was not issued by {_name(issuer)}") from None


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None


def _usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else "a certificate without a name"
