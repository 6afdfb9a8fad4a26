"""The gateway's RSA signing key, from a PEM or from the response of ``GET /signing-key``."""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from gateway.keccak import keccak256
from tools.verify import strict_json
from tools.verify.errors import MalformedError

MIN_KEY_BITS = 2048
_PSS = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key and the tee_id stated by its source, if any."""

    public_key: RSAPublicKey
    stated_tee_id: str | None = None

    @property
    def spki(self) -> bytes:
        """The DER of the SubjectPublicKeyInfo."""
        return self.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def tee_id(self) -> str:
        """``0x`` and keccak256 of the SPKI DER, 64 lower-case hex digits."""
        return "0x" + keccak256(self.spki).hex()

    @property
    def key_hash(self) -> bytes:
        """SHA-256 of the SPKI DER, which the enclave registers with nitriding as its appKeyHash."""
        return hashlib.sha256(self.spki).digest()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Verify RSA-PSS (SHA-256, MGF1-SHA-256, salt 32) over ``message``. Raises InvalidSignature."""
        self.public_key.verify(signature, message, _PSS, SHA256())


def load_signing_key(data: bytes) -> SigningKey:
    """Read a PEM public key, or a JSON object ``{public_key, tee_id, …}`` with one.

    Raises MalformedError with a one-line message if there is no usable RSA key in it.
    """
    if not data.lstrip().startswith(b"{"):
        return SigningKey(_rsa_from_pem(data))
    document = strict_json.loads_object(data)
    pem, tee_id = document.get("public_key"), document.get("tee_id")
    if not isinstance(pem, str):
        raise MalformedError("a JSON object without a PEM under public_key")
    if tee_id is not None and not isinstance(tee_id, str):
        raise MalformedError("a JSON object whose tee_id is not text")
    if not pem.isascii():
        raise MalformedError("a JSON object whose public_key is not a PEM")
    return SigningKey(_rsa_from_pem(pem.encode()), tee_id)


def _rsa_from_pem(pem: bytes) -> RSAPublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedError("not a PEM public key") from None
    if not isinstance(key, RSAPublicKey):
        raise MalformedError(f"not an RSA key but {type(key).__name__}")
    if key.key_size < MIN_KEY_BITS:
        raise MalformedError(f"an RSA key of only {key.key_size} bits")
    return key
