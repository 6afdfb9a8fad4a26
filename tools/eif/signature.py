"""The signature section: a signature of PCR0, and the certificate that is measured in PCR8.

CBOR array of ``{signing_certificate, signature}``; the certificate is the PEM file's bytes, the signature an untagged
COSE_Sign1 over CBOR ``{register_index, register_value}``. AWS's builder writes byte strings as arrays of numbers, and
its reader accepts nothing else (tested with aws-nitro-enclaves-image-format 0.5.0).
"""

import warnings
from typing import Any

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from tools.eif.layout import EifError

_PROTECTED_ES384 = bytes.fromhex("a1013822")
_SIGNATURE_BYTES = 96


def certificate_der(pem: bytes) -> bytes:
    """The DER of the first certificate in a PEM file."""
    return _certificate(pem).public_bytes(Encoding.DER)


def sign_pcr0(pcr0: bytes, pem: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The section for an image with this PCR0; ``key`` is the certificate's P-384 key. The output is deterministic: the
    ECDSA nonce is derived by RFC 6979. Raises EifError for another key."""
    if _public_key(pem) != key.public_key():
        raise EifError("the signing certificate is of another key")
    if not isinstance(key.curve, ec.SECP384R1):
        raise EifError("the signing key is not on P-384")
    payload = cbor2.dumps({"register_index": 0, "register_value": list(pcr0)})
    algorithm = ec.ECDSA(SHA384(), deterministic_signing=True)
    r, s = decode_dss_signature(key.sign(_to_be_signed(payload), algorithm))
    raw = r.to_bytes(48, "big") + s.to_bytes(48, "big")
    cose = cbor2.dumps([_PROTECTED_ES384, {}, payload, raw])
    return cbor2.dumps([{"signing_certificate": list(pem), "signature": list(cose)}])


def read_certificate(section: bytes) -> bytes:
    """The DER of the section's signing certificate."""
    return certificate_der(_entry(section)[0])


def check_signature(section: bytes, pcr0: bytes) -> None:
    """Raises EifError unless the section's certificate signed this PCR0."""
    pem, cose = _entry(section)
    key = _public_key(pem)
    match _decode(cose):
        case [bytes(protected), dict(), bytes(payload), bytes(raw)]:
            pass
        case _:
            raise EifError("the signature is not a COSE_Sign1")
    if protected != _PROTECTED_ES384 or len(raw) != _SIGNATURE_BYTES or not isinstance(key, ec.EllipticCurvePublicKey):
        raise EifError("the image is not signed with ES384")
    try:
        der = encode_dss_signature(int.from_bytes(raw[:48], "big"), int.from_bytes(raw[48:], "big"))
        key.verify(der, _to_be_signed(payload), ec.ECDSA(SHA384()))
    except InvalidSignature:
        raise EifError("the signature was not made by the certificate's key") from None
    match _decode(payload):
        case {"register_index": 0, "register_value": value} if _bytes(value) == pcr0:
            return
    raise EifError("the signature is over another PCR0")


def _to_be_signed(payload: bytes) -> bytes:
    return cbor2.dumps(["Signature1", _PROTECTED_ES384, b"", payload])


def _entry(section: bytes) -> tuple[bytes, bytes]:
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
