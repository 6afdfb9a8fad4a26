"""Certificates that lack what AWS's have: refused with the reason, never a crash."""

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.golden_key import golden_key
from tools.verify.attestation import root
from tools.verify.attestation.chain import ChainError, check_leaf_signature, check_path, check_validity, load_path
from tools.verify.attestation.document import parse
from tools.verify.double import AttestationDouble, CertificateProfile, with_profile
from tools.verify.errors import UsageError

MADE = datetime(2026, 11, 1, 12, tzinfo=UTC)
ENCLAVE = AttestationDouble(MADE)
ROOT, LEAF = ENCLAVE.root, ENCLAVE.path[-1]


def check(profiles: dict[str, CertificateProfile]) -> None:
    enclave = AttestationDouble(MADE, profiles)
    check_path(load_path(parse(enclave.document())), enclave.root)


@pytest.mark.parametrize(
    ("profiles", "reason"),
    [
        (with_profile("regional", ca=None), "is not an authority"),
        (with_profile("zonal", key_usage=False), "may not sign certificates"),
        (with_profile("leaf", key_usage=False), "may not sign documents"),
    ],
)
def test_an_extension_is_missing(profiles: dict[str, CertificateProfile], reason: str) -> None:
    with pytest.raises(ChainError, match=reason):
        check(profiles)


def test_a_leaf_needs_no_basic_constraints() -> None:
    check(with_profile("leaf", ca=None))


def test_an_rsa_key() -> None:
    key, name = golden_key(), LEAF.subject
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, MADE, MADE + timedelta(hours=3))
    leaf = builder.sign(key, SHA256())
    with pytest.raises(ChainError, match="not on P-384"):
        check_path((ROOT, leaf), ROOT)
    with pytest.raises(InvalidSignature):
        check_leaf_signature(leaf, bytes(96), b"")


def test_version_1() -> None:
    """Its DER is that of version 3 without the version, in two sequences that are shorter by that."""
    version_3 = LEAF.public_bytes(Encoding.DER)
    outer, inner, version = struct.unpack("!2xH2xH5s", version_3[:13])
    assert version.hex() == "a003020102"
    version_1 = struct.pack("!2sH2sH", b"\x30\x82", outer - 5, b"\x30\x82", inner - 5) + version_3[13:]
    with pytest.raises(ChainError, match=r"not an X\.509 v3 certificate"):
        check_path((ROOT, x509.load_der_x509_certificate(version_1)), ROOT)


def test_validity_includes_its_first_and_last_second() -> None:
    second = timedelta(seconds=1)
    first, last = LEAF.not_valid_before_utc, LEAF.not_valid_after_utc
    for time in (first, last):
        check_validity([LEAF], time)
    for time in (first - second, last + second):
        with pytest.raises(ChainError):
            check_validity([LEAF], time)


def test_another_certificate_in_the_bundled_file_is_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root, "_AWS_ROOT_FILE", tmp_path / "root.pem")
    (tmp_path / "root.pem").write_bytes(ROOT.public_bytes(Encoding.PEM))
    with pytest.raises(UsageError, match=r"root\.pem is not the AWS root"):
        root.aws_root()
