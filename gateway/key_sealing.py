"""Sealed injections: HPKE (RFC 9180, base mode) to a key that is signed by the attested RSA key.

The chain of trust is: attestation document → hash of the RSA key → RSA key → signature of the sealing key. Each enclave
generates its own sealing key at its start, so a bundle that the host keeps opens nowhere else and never again. A host
could still inject keys of its own first, so the acceptance of a bundle is signed as well. Otherwise the RSA key signs
32-byte digests only; these statements are longer and cannot be confused with them.
"""

import base64
import hashlib
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from gateway.openai_api.errors import GatewayError, invalid_request
from gateway.signing import Signer

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
SUITE_IDS = {"kem_id": 0x0020, "kdf_id": 0x0001, "aead_id": 0x0002}
"""The suite's registered identifiers (RFC 9180, 7)."""
_SEALING_KEY = b"tee-gateway sealing key v1\0"
_INJECTION = b"tee-gateway injection taken v1\0"
_CONTEXT = b"tee-gateway sealed keys v1\0"


def sealing_key_statement(tee_id: str, public_key: bytes) -> bytes:
    """The bytes signed at the start: the 32 bytes of ``public_key`` are the sealing key of ``tee_id`` (0x…)."""
    return _SEALING_KEY + bytes.fromhex(tee_id[2:]) + public_key


def injection_statement(tee_id: str, sealed: str) -> bytes:
    """The bytes signed on acceptance: this bundle was the one injection of ``tee_id``."""
    return _INJECTION + bytes.fromhex(tee_id[2:]) + hashlib.sha256(sealed.encode()).digest()


def seal(keys: bytes, tee_id: str, public_key: bytes) -> str:
    """A bundle for ``POST /v1/keys``: base64 of HPKE's encapsulated key and ciphertext, bound to ``tee_id``."""
    sealed = SUITE.encrypt(keys, X25519PublicKey.from_public_bytes(public_key), _context(tee_id))
    return base64.b64encode(sealed).decode()


class SealingKey:
    """The private key, generated with the process and kept in memory only. ``public_info`` is what is published."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._private = X25519PrivateKey.generate()
        public = self._private.public_key().public_bytes_raw()
        self.public_info: dict[str, str | int] = {
            **SUITE_IDS,
            "public_key": base64.b64encode(public).decode(),
            "signature": self._sign(sealing_key_statement(signer.tee_id, public)),
            "tee_id": signer.tee_id,
        }

    def unseal(self, body: dict[str, Any]) -> dict[str, Any]:
        """The fields of ``body``, opened if it is ``{"sealed": …}``; raises 400 for a bundle that cannot be opened."""
        if body.keys() != {"sealed"}:
            return body
        return self._open(body["sealed"])

    def receipt(self, sealed: str) -> str:
        """The base64 signature of the statement that ``sealed`` was accepted."""
        return self._sign(injection_statement(self._signer.tee_id, sealed))

    def _sign(self, message: bytes) -> str:
        return base64.b64encode(self._signer.sign_bytes(message)).decode()

    def _open(self, sealed: Any) -> dict[str, Any]:
        if not isinstance(sealed, str):
            raise _unusable("is not a string")
        try:
            keys = SUITE.decrypt(base64.b64decode(sealed, validate=True), self._private, _context(self._signer.tee_id))
        except (InvalidTag, ValueError):
            raise _unusable("is not sealed for this gateway's key") from None
        try:
            fields = msgspec.json.decode(keys)
        except (ValueError, RecursionError):
            raise _unusable("does not contain JSON") from None
        if not isinstance(fields, dict):
            raise _unusable("does not contain a JSON object")
        return fields


def _context(tee_id: str) -> bytes:
    return _CONTEXT + bytes.fromhex(tee_id[2:])


def _unusable(what: str) -> GatewayError:
    return invalid_request(f"The bundle {what}.", "sealed", "invalid_value")
