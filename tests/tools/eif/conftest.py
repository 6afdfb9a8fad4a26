"""Small parts of an image and a signing certificate."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tools.eif.metadata import encode_metadata
from tools.eif.writer import Parts, Signer

METADATA = encode_metadata('image ☀ "q"', "1.2")


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    contents = {"kernel": b"kernel" * 200, "first": b"first ramdisk", "second": b"second" * 99, "third": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    ramdisks = (tmp_path / "first", tmp_path / "second", tmp_path / "third")
    return Parts(tmp_path / "kernel", b"console=ttyS0", ramdisks, METADATA)


@pytest.fixture(scope="session")
def signer() -> Signer:
    return make_signer(ec.SECP384R1())


@pytest.fixture(scope="session")
def p256_signer() -> Signer:
    return make_signer(ec.SECP256R1())


@pytest.fixture
def signer_files(signer: Signer, tmp_path: Path) -> tuple[Path, Path]:
    return write_signer(signer, tmp_path)


def write_signer(signer: Signer, folder: Path) -> tuple[Path, Path]:
    """Certificate and private key as PEM files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(signer.certificate)
    key.write_bytes(signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key


def make_signer(curve: Any) -> Signer:
    key = ec.generate_private_key(curve)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "image signer")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA384())
    )
    return Signer(certificate.public_bytes(Encoding.PEM), key)
