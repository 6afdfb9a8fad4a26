"""The signature section: a signature of PCR0, and the certificate that is measured in PCR8.

CBOR array of ``{signing_certificate, signature}``; the certificate is the PEM file's bytes, the signature an untagged
COSE_Sign1 over CBOR ``{register_index, register_value}``, by ES256, ES384 or ES512 after the key's curve. AWS's builder
writes byte strings as arrays of numbers, and its reader accepts nothing else (tested with
aws-nitro-enclaves-image-format 0.5.0). Images are signed here with ES384 only.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding

from tools.eif.layout import EifError

MAX_SECTION_BYTES = 32 * 1024
"""SIGNATURE_MAX_SIZE of AWS's format; the section holds about two bytes for each of the PEM file's."""


@dataclass(frozen=True, slots=True)
class _Algorithm:
    """An ECDSA algorithm of COSE: its protected header, and the size of r and of s."""

    protected: bytes
    digest: SHA256 | SHA384 | SHA512
    integer_bytes: int


_ES384 = _Algorithm(bytes.fromhex("a1013822"), SHA384(), 48)
_ALGORITHMS = {
    "secp256r1": _Algorithm(bytes.fromhex("a10126"), SHA256(), 32),
    "secp384r1": _ES384,
    "secp521r1": _Algorithm(bytes.fromhex("a1013823"), SHA512(), 66),
}


def certificate_der(pem: bytes) -> bytes:
    """The DER of the first certificate in a PEM file."""
    return _certificate(pem).public_bytes(Encoding.DER)


def sign_pcr0(pcr0: bytes, pem: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The section for an image with this PCR0; ``key`` is the certificate's P-384 key. The output is deterministic: the
    ECDSA nonce is derived by RFC 6979. Raises EifError for another key, or a PEM file too large for the section."""
    if _public_key(pem) != key.public_key():
        raise EifError("the signing certificate does not match the signing key")
    if not isinstance(key.curve, ec.SECP384R1):
        raise EifError("the signing key is not on P-384")
    payload = cbor2.dumps({"register_index": 0, "register_value": list(pcr0)})
    algorithm = ec.ECDSA(_ES384.digest, deterministic_signing=True)
    r, s = decode_dss_signature(key.sign(_to_be_signed(_ES384.protected, payload), algorithm))
    raw = r.to_bytes(_ES384.integer_bytes, "big") + s.to_bytes(_ES384.integer_bytes, "big")
    cose = cbor2.dumps([_ES384.protected, {}, payload, raw])
    section = cbor2.dumps([{"signing_certificate": list(pem), "signature": list(cose)}])
    _check_size(section)
    return section


def read_certificate(section: bytes) -> bytes:
    """The DER of the section's signing certificate."""
    return certificate_der(_entry(section)[0])


def check_signature(section: bytes, pcr0: bytes) -> None:
    """Raises EifError unless the section's certificate signed this PCR0."""
    match _decode(_verified_payload(*_entry(section))):
        case {"register_index": 0, "register_value": value} if _bytes(value) == pcr0:
            return
    raise EifError("the signature is for another PCR0")


def _verified_payload(pem: bytes, cose: bytes) -> bytes:
    """The payload of a COSE_Sign1 by the certificate's key. Raises EifError."""
    match _decode(cose):
        case [bytes(protected), dict(), bytes(payload), bytes(raw)]:
            pass
        case _:
            raise EifError("the signature is not a COSE_Sign1")
    key = _public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _ALGORITHMS:
        raise EifError("the signing certificate's key is not on P-256, P-384 or P-521")
    algorithm = _ALGORITHMS[key.curve.name]
    half = algorithm.integer_bytes
    if protected != algorithm.protected or len(raw) != 2 * half:
        raise EifError(f"the image is not signed with the algorithm of its key's curve, {key.curve.name}")
    try:
        der = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        key.verify(der, _to_be_signed(protected, payload), ec.ECDSA(algorithm.digest))
    except InvalidSignature:
        raise EifError("the signature was not made by the certificate's key") from None
    return payload


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    return cbor2.dumps(["Signature1", protected, b"", payload])


def _check_size(section: bytes) -> None:
    if len(section) > MAX_SECTION_BYTES:
        raise EifError(f"the signature section is {len(section)} bytes, more than {MAX_SECTION_BYTES}")


def _entry(section: bytes) -> tuple[bytes, bytes]:
    _check_size(section)
    match _decode(section):
        case [{"signing_certificate": certificate, "signature": signature}, *_]:
            return _bytes(certificate), _bytes(signature)
    raise EifError("the signature section does not hold a certificate and a signature")


def _bytes(value: Any) -> bytes:
    """Decode a byte string, or an array of numbers that stands for one."""
    try:
        return bytes(value) if isinstance(value, list | bytes) else b""
    except (TypeError, ValueError):
        raise EifError("the signature section holds something other than bytes") from None


def _decode(data: bytes) -> Any:
    try:
        return cbor2.loads(data)
    except (cbor2.CBORError, ValueError, TypeError) as error:
        raise EifError(f"the signature section is not CBOR: {error}") from None


def _public_key(pem: bytes) -> CertificatePublicKeyTypes:
    try:
        return _certificate(pem).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise EifError("the signing certificate has a key that cannot be read") from None


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return x509.load_pem_x509_certificate(pem)
    except (ValueError, x509.InvalidVersion, Warning):
        raise EifError("the signing certificate is not a PEM certificate") from None
