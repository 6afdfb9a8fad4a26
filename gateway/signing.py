"""The process's signing keys, and the signature of every answer (design 4.3)."""

from binascii import b2a_base64
from collections.abc import Mapping

import coincurve
import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.billing.evm.eip712 import address_of
from gateway.billing.evm.values import checksummed
from gateway.envelope import signing_digest
from gateway.keccak import keccak256

_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
_SHA256 = hashes.SHA256()


class Envelope(msgspec.Struct, frozen=True):
    """The signature of an answer. Hashes are lower-case hex, the signature is base64, the time in seconds."""

    request_hash: str
    output_hash: str
    signature: str
    timestamp: int
    tee_id: str

    def fields(self) -> dict[str, str | int]:
        """The ``tee_*`` keys at the top level of an answer."""
        return {
            "tee_signature": self.signature,
            "tee_request_hash": self.request_hash,
            "tee_output_hash": self.output_hash,
            "tee_timestamp": self.timestamp,
            "tee_id": self.tee_id,
        }

    def headers(self) -> Mapping[str, str]:
        """The same as headers, for non-streamed answers."""
        return {
            "X-TEE-Signature": self.signature,
            "X-TEE-ID": self.tee_id,
            "X-TEE-Timestamp": str(self.timestamp),
            "X-TEE-Request-Hash": self.request_hash,
            "X-TEE-Output-Hash": self.output_hash,
        }


class Signer:
    """An RSA-2048 key for answers and an Ethereum key for the enclave's wallet; both live in memory only."""

    def __init__(self, key: rsa.RSAPrivateKey | None = None, wallet: coincurve.PrivateKey | None = None) -> None:
        self._key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.wallet = wallet or coincurve.PrivateKey()
        public = self._key.public_key()
        self.public_der = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.public_pem = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()
        self.tee_id = "0x" + keccak256(self.public_der).hex()
        self.wallet_address = checksummed(address_of(self.wallet.public_key))

    def sign(self, request_hash: bytes, output: str, timestamp: int) -> Envelope:
        """Sign an answer. ``request_hash`` is keccak256 of the canonical request, ``output`` its signed text."""
        output_hash = keccak256(output.encode())
        digest = signing_digest(request_hash, output_hash, timestamp)
        return Envelope(
            request_hash=request_hash.hex(),
            output_hash=output_hash.hex(),
            signature=b2a_base64(self.sign_bytes(digest), newline=False).decode(),
            timestamp=timestamp,
            tee_id=self.tee_id,
        )

    def sign_bytes(self, message: bytes) -> bytes:
        """RSA-PSS over ``message``: SHA-256, MGF1 with SHA-256, salt of 32 bytes."""
        return self._key.sign(message, _PSS, _SHA256)
