"""Answers signed by hand, without the gateway's envelope code: hashes from eth_hash, explicit bytes."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from eth_hash.auto import keccak

Json = Any
TIMESTAMP = 1_790_000_000


class Signer:
    """A gateway's key: signs any (canonical request, output) pair."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.tee_id = "0x" + keccak(self.spki).hex()

    def envelope(self, canonical: str, output: str, timestamp: int = TIMESTAMP) -> dict[str, Json]:
        """The five ``tee_*`` fields."""
        request_hash, output_hash = keccak(canonical.encode()), keccak(output.encode())
        digest = keccak(request_hash + output_hash + timestamp.to_bytes(32, "big"))
        pss = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)
        return {
            "tee_signature": base64.b64encode(self.key.sign(digest, pss, SHA256())).decode(),
            "tee_request_hash": request_hash.hex(),
            "tee_output_hash": output_hash.hex(),
            "tee_timestamp": timestamp,
            "tee_id": self.tee_id,
        }


@pytest.fixture(scope="session")
def answer_signer() -> Signer:
    return Signer()


@pytest.fixture(scope="session")
def other_answer_signer() -> Signer:
    return Signer()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes | Json], str]:
    """Write bytes unchanged and anything else as JSON; return the path."""

    def write_file(name: str, content: bytes | Json) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return str(path)

    return write_file
