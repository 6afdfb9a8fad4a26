"""Test double of the Nitro Security Module: real COSE_Sign1/ES384 documents under a generated root.

The documents are laid out like nitriding's (facts/enclave.md 1.3, 2.1): indefinite-length map, null for absent fields,
16 PCRs, four CA certificates root first, a leaf valid for three hours. Every part can be made invalid. Nothing here is
trusted unless a test passes ``AttestationDouble.root`` as the trust anchor.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from tools.verify.attestation.binding import Binding, bind

Fields = dict[str, Any]

MODULE_ID = "i-0123456789abcdef0-enc0123456789abcdef"
PROTECTED_ES384 = bytes.fromhex("a1013822")
DEFAULT_PCRS = {0: b"\xa0" * 48, 1: b"\xa1" * 48, 2: b"\xa2" * 48, 4: b"\xa4" * 48}


@dataclass(frozen=True, slots=True)
class CertificateProfile:
    """The properties of one certificate of the path; PROFILES are those of AWS.

    ``ca`` is None for a certificate without basic constraints, ``key_usage`` False for one without key usage.
    """

    name: str
    lifetime: timedelta
    ca: bool | None = True
    path_length: int | None = None
    key_usage: bool = True
    key_cert_sign: bool = True
    digital_signature: bool = True
    not_before: timedelta = timedelta(minutes=-1)
    curve: type[ec.EllipticCurve] = ec.SECP384R1
    digest: type[SHA256 | SHA384] = SHA384
    critical_extension: bool = False
    issuer_name: str | None = None
    self_signed: bool = False


PROFILES = {
    "root": CertificateProfile("double.aws.nitro-enclaves", timedelta(days=10957)),
    "regional": CertificateProfile("0.test-1.aws.nitro-enclaves", timedelta(days=20), path_length=2),
    "zonal": CertificateProfile("zonal.test-1a.aws.nitro-enclaves", timedelta(days=6), path_length=1),
    "instance": CertificateProfile(
        "i-0123456789abcdef0.test-1", timedelta(days=1), path_length=0, digital_signature=False
    ),
    "leaf": CertificateProfile(f"{MODULE_ID}.test-1", timedelta(hours=3, seconds=3), ca=False, key_cert_sign=False),
}


class AttestationDouble:
    """One enclave on one instance: a certificate path issued at ``made`` and documents signed with its leaf key.

    ``profiles`` overrides PROFILES by name, e.g. ``{"leaf": replace(PROFILES["leaf"], ca=True)}``. Keys, certificates
    and documents are a function of ``made`` and ``secret`` (a positive number).
    """

    def __init__(
        self,
        made: datetime | None = None,
        profiles: Mapping[str, CertificateProfile] | None = None,
        *,
        secret: int | None = None,
    ) -> None:
        self.made = (made or datetime.now(UTC)).replace(microsecond=0)
        self.path: list[x509.Certificate] = []
        issuer: tuple[str, ec.EllipticCurvePrivateKey] | None = None
        secret = secret or secrets.randbits(128) + 1
        for position, profile in enumerate({**PROFILES, **(profiles or {})}.values()):
            key = ec.derive_private_key(secret + position, profile.curve())
            self.path.append(_certificate(profile, key, issuer, self.made))
            issuer = (profile.name, key)
            self.leaf_key = key

    @property
    def root(self) -> x509.Certificate:
        return self.path[0]

    @property
    def cabundle(self) -> list[bytes]:
        """DER, root first, without the leaf."""
        return [certificate.public_bytes(Encoding.DER) for certificate in self.path[:-1]]

    def fields(
        self,
        *,
        tls_certificate: bytes = b"",
        app_key_hash: bytes = bytes(32),
        nonce: bytes | None = None,
        pcrs: Mapping[int, bytes] = DEFAULT_PCRS,
        made: datetime | None = None,
    ) -> Fields:
        """The payload fields of a nitriding document; ``tls_certificate`` is DER, empty for a hash that is not set."""
        binding = bind(tls_certificate, app_key_hash) if tls_certificate else Binding(bytes(32), app_key_hash)
        return {
            "module_id": MODULE_ID,
            "digest": "SHA384",
            "timestamp": round((made or self.made).timestamp() * 1000),
            "pcrs": {index: pcrs.get(index, bytes(48)) for index in range(16)},
            "certificate": self.path[-1].public_bytes(Encoding.DER),
            "cabundle": self.cabundle,
            "public_key": b"dummy",
            "user_data": binding.user_data(),
            "nonce": nonce,
        }

    def sign(self, fields: Fields) -> bytes:
        """A correctly signed document with these fields."""
        return self.sign_payload(encode_payload(fields))

    def sign_payload(
        self,
        payload: bytes,
        *,
        protected: bytes = PROTECTED_ES384,
        key: ec.EllipticCurvePrivateKey | None = None,
        edit: Callable[[list[Any]], object] = lambda array: None,
    ) -> bytes:
        """A COSE_Sign1 around any payload; ``edit`` modifies its four-element array after signing."""
        signer = key or self.leaf_key
        to_be_signed = cbor2.dumps(["Signature1", protected, b"", payload])
        r, s = decode_dss_signature(signer.sign(to_be_signed, ec.ECDSA(SHA384(), deterministic_signing=True)))
        array = [protected, {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")]
        edit(array)
        return cbor2.dumps(array)

    def document(self, **fields: Any) -> bytes:
        """A correctly signed document; the keywords are those of ``fields``."""
        return self.sign(self.fields(**fields))


def encode_payload(fields: Fields, *, definite: bool = False) -> bytes:
    """The payload as a CBOR map: of indefinite length, as the NSM has written it since 2025, or definite as before."""
    encoded = cbor2.dumps(fields)
    return encoded if definite else b"\xbf" + encoded[1:] + b"\xff"


def encode_pairs(pairs: Sequence[tuple[Any, Any]]) -> bytes:
    """An indefinite-length map of exactly these pairs, duplicate keys included."""
    return b"\xbf" + b"".join(cbor2.dumps(key) + cbor2.dumps(value) for key, value in pairs) + b"\xff"


def with_profile(name: str, **changes: Any) -> dict[str, CertificateProfile]:
    """PROFILES[name] with ``changes``, as an argument for ``AttestationDouble``."""
    return {name: replace(PROFILES[name], **changes)}


def _certificate(
    profile: CertificateProfile,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[str, ec.EllipticCurvePrivateKey] | None,
    made: datetime,
) -> x509.Certificate:
    issuer_name, issuer_key = (profile.name, key) if issuer is None or profile.self_signed else issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(profile.name))
        .issuer_name(_name(profile.issuer_name or issuer_name))
        .public_key(key.public_key())
        .serial_number(int.from_bytes(sha256(profile.name.encode()).digest()[:8], "big"))
        .not_valid_before(made + profile.not_before)
        .not_valid_after(made + profile.lifetime)
    )
    if profile.ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(profile.ca, profile.path_length), critical=True)
    if profile.key_usage:
        builder = builder.add_extension(_key_usage(profile), critical=True)
    if profile.critical_extension:
        unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=True)
    return builder.sign(issuer_key, profile.digest(), ecdsa_deterministic=True)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(profile: CertificateProfile) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=profile.digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=profile.key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
