"""EIF bytes: the writer's output field by field, and the files that the reader rejects."""

import base64
import hashlib
import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256K1,
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from tests.tools.eif.conftest import make_signer
from tools.eif.layout import Architecture, EifError, SectionType, check_order
from tools.eif.reader import read_eif
from tools.eif.signature import check_signature
from tools.eif.writer import Parts, Section, Signer, measure, write_eif

KERNEL, CMDLINE, FIRST, SECOND = b"kernel" * 200, b"console=ttyS0", b"first ramdisk", b"second" * 99


def pcr(data: bytes) -> bytes:
    return hashlib.sha384(bytes(48) + hashlib.sha384(data).digest()).digest()


EXPECTED = {0: pcr(KERNEL + CMDLINE + FIRST + SECOND), 1: pcr(KERNEL + CMDLINE + FIRST), 2: pcr(SECOND)}


@pytest.fixture
def image(parts: Parts, tmp_path: Path) -> Path:
    path = tmp_path / "image.eif"
    write_eif(parts, path)
    return path


def with_crc(data: bytes) -> bytes:
    """The file with a corrected CRC."""
    return data[:544] + zlib.crc32(data[548:], zlib.crc32(data[:544])).to_bytes(4, "big") + data[548:]


def test_every_byte_of_the_file(parts: Parts, image: Path) -> None:
    data = image.read_bytes()
    bodies = [(1, KERNEL), (2, CMDLINE), (5, parts.metadata), (3, FIRST), (3, SECOND), (3, b"")]
    sections = b"".join(struct.pack(">HHQ", kind, 0, len(body)) + body for kind, body in bodies)
    sizes = [len(body) for _, body in bodies]
    offsets = [548 + sum(12 + size for size in sizes[:index]) for index in range(len(sizes))]
    header = b".eif" + struct.pack(">HHQQHH", 4, 0, 1 << 30, 2, 0, 6)
    header += struct.pack(">32Q", *offsets, *[0] * 26) + struct.pack(">32Q", *sizes, *[0] * 26) + bytes(4)
    crc = zlib.crc32(header + sections)
    assert data == header + struct.pack(">I", crc) + sections


def test_pcrs_of_parts_and_image(parts: Parts, image: Path) -> None:
    assert measure(parts) == EXPECTED
    assert read_eif(image).pcrs == EXPECTED


def test_one_ramdisk_gives_the_known_empty_pcr2(parts: Parts) -> None:
    """PCR0 equals PCR1, and PCR2 is the constant of every captured document of a one-ramdisk image."""
    pcrs = measure(replace(parts, ramdisks=parts.ramdisks[:1]))
    assert pcrs[0] == pcrs[1]
    assert pcrs[2].hex().startswith("21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c")


def test_the_same_parts_give_the_same_bytes(parts: Parts, image: Path, tmp_path: Path) -> None:
    write_eif(parts, tmp_path / "again.eif")
    assert (tmp_path / "again.eif").read_bytes() == image.read_bytes()


def test_reading_returns_what_was_written(parts: Parts, image: Path) -> None:
    read = read_eif(image)
    assert [section.type for section in read.sections] == [
        SectionType.KERNEL,
        SectionType.CMDLINE,
        SectionType.METADATA,
        *[SectionType.RAMDISK] * 3,
    ]
    assert (read.cmdline, read.architecture, read.certificate) == (CMDLINE, Architecture.X86_64, None)
    assert read.metadata == json.loads(parts.metadata)
    assert read.metadata["BuildMetadata"]["BuildTime"] == "1970-01-01T00:00:00+00:00"


def test_arm64_is_a_flag_and_in_no_pcr(parts: Parts, tmp_path: Path) -> None:
    pcrs = write_eif(replace(parts, architecture=Architecture.AARCH64), tmp_path / "arm.eif")
    assert pcrs == EXPECTED
    assert read_eif(tmp_path / "arm.eif").architecture is Architecture.AARCH64


def test_a_signed_image_has_pcr8(parts: Parts, signer: Signer, tmp_path: Path) -> None:
    path = tmp_path / "signed.eif"
    der = x509.load_pem_x509_certificate(signer.certificate).public_bytes(Encoding.DER)
    expected = {**EXPECTED, 8: pcr(der)}
    assert write_eif(parts, path, signer) == expected
    assert measure(parts, signer.certificate) == expected
    read = read_eif(path)
    assert read.pcrs == expected
    assert read.certificate == der
    assert read.sections[-1].type is SectionType.SIGNATURE
    write_eif(parts, tmp_path / "again.eif", signer)
    assert (tmp_path / "again.eif").read_bytes() == path.read_bytes()


def test_a_signature_of_another_image_is_refused(parts: Parts, signer: Signer, tmp_path: Path) -> None:
    path = tmp_path / "signed.eif"
    write_eif(parts, path, signer)
    path.write_bytes(with_crc(path.read_bytes().replace(FIRST, b"other ramdisk")))
    with pytest.raises(EifError, match="another PCR0"):
        read_eif(path)


def test_a_signature_by_another_key_is_refused(parts: Parts, signer: Signer, tmp_path: Path) -> None:
    path = tmp_path / "signed.eif"
    write_eif(parts, path, signer)
    data = path.read_bytes()
    start = data.index(struct.pack(">HH", 4, 0), len(data) - 8000)
    entries = cbor2.loads(data[start + 12 :])
    entries[0]["signature"][-1] ^= 1
    section = cbor2.dumps(entries)
    assert len(section) == len(data) - start - 12
    path.write_bytes(with_crc(data[: start + 12] + section))
    with pytest.raises(EifError, match="not made by the certificate's key"):
        read_eif(path)


def test_a_key_that_does_not_belong_or_fit_is_refused(
    parts: Parts, signer: Signer, p256_signer: Signer, tmp_path: Path
) -> None:
    output = tmp_path / "no.eif"
    with pytest.raises(EifError, match="does not match the signing key"):
        write_eif(parts, output, Signer(signer.certificate, p256_signer.key))
    with pytest.raises(EifError, match="not on P-384"):
        write_eif(parts, output, p256_signer)
    with pytest.raises(EifError, match="not a PEM certificate"):
        write_eif(parts, output, Signer(b"x", signer.key))
    assert not list(tmp_path.glob("no.eif*"))


def test_a_certificate_too_large_for_the_signature_section(
    parts: Parts, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS's SIGNATURE_MAX_SIZE: an image with a larger section would not boot."""
    output = tmp_path / "large.eif"
    large = Signer(signer.certificate * (16 * 1024 // len(signer.certificate) + 1), signer.key)
    with pytest.raises(EifError, match="more than 32768"):
        write_eif(parts, output, large)
    assert not output.exists()
    with monkeypatch.context() as patched:
        patched.setattr("tools.eif.signature.MAX_SECTION_BYTES", 1 << 20)
        write_eif(parts, output, large)
    with pytest.raises(EifError, match="more than 32768"):
        read_eif(output)


def signature_section(signer: Signer, protected: str, digest: HashAlgorithm, pcr0: bytes) -> bytes:
    """As AWS's builder writes it, for a key on any curve."""
    header = bytes.fromhex(protected)
    payload = cbor2.dumps({"register_index": 0, "register_value": list(pcr0)})
    signature = signer.key.sign(cbor2.dumps(["Signature1", header, b"", payload]), ECDSA(digest))
    size = (signer.key.curve.key_size + 7) // 8
    raw = b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(signature))
    cose = cbor2.dumps([header, {}, payload, raw])
    return cbor2.dumps([{"signing_certificate": list(signer.certificate), "signature": list(cose)}])


@pytest.mark.parametrize(
    ("curve", "protected", "digest"),
    [(SECP256R1(), "a10126", SHA256()), (SECP384R1(), "a1013822", SHA384()), (SECP521R1(), "a1013823", SHA512())],
)
def test_images_may_be_signed_with_each_of_awss_algorithms(
    curve: EllipticCurve, protected: str, digest: HashAlgorithm
) -> None:
    signer = make_signer(curve)
    check_signature(signature_section(signer, protected, digest, EXPECTED[0]), EXPECTED[0])
    with pytest.raises(EifError, match="another PCR0"):
        check_signature(signature_section(signer, protected, digest, EXPECTED[1]), EXPECTED[0])
    other = replace(make_signer(curve), certificate=signer.certificate)
    with pytest.raises(EifError, match="not made by the certificate's key"):
        check_signature(signature_section(other, protected, digest, EXPECTED[0]), EXPECTED[0])
    with pytest.raises(EifError, match=f"not signed with the algorithm of its key's curve, {curve.name}"):
        check_signature(signature_section(signer, "a10127", digest, EXPECTED[0]), EXPECTED[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"signature": [0xFF]}, "the signature section is not CBOR"),
        ({"signature": [0x80]}, "is not a COSE_Sign1"),
        ({"signature": [256]}, "something other than bytes"),
        ({"signature": ["x"]}, "something other than bytes"),
        ({"signing_certificate": 1 << 40}, "is not a PEM certificate"),
        ({"signing_certificate": "text"}, "is not a PEM certificate"),
    ],
)
def test_what_is_no_signature_is_refused(change: dict[str, object], reason: str, signer: Signer) -> None:
    [entry] = cbor2.loads(signature_section(signer, "a1013822", SHA384(), EXPECTED[0]))
    with pytest.raises(EifError, match=reason):
        check_signature(cbor2.dumps([{**entry, **change}]), EXPECTED[0])
    for section in (b"", cbor2.dumps([]), cbor2.dumps([[]])):
        with pytest.raises(EifError, match=r"the signature section (is not CBOR|does not hold)"):
            check_signature(section, EXPECTED[0])


def test_a_signing_key_on_another_curve_is_refused() -> None:
    section = signature_section(make_signer(SECP256K1()), "a10126", SHA256(), EXPECTED[0])
    with pytest.raises(EifError, match="not on P-256, P-384 or P-521"):
        check_signature(section, EXPECTED[0])


@pytest.mark.parametrize(
    ("sound", "changed", "reason"),
    [
        ("a003020102", "a003020105", "not a PEM certificate"),  # the version of X.509
        ("a003020102020107", "a003020102020187", "not a PEM certificate"),  # the serial number, now negative
        ("06052b81040022", "06052b81040050", "cannot be read"),  # the curve
        ("03620004", "03620005", "cannot be read"),  # the form of the point
    ],
)
def test_a_certificate_that_cannot_be_read_is_refused(
    sound: str, changed: str, reason: str, parts: Parts, signer: Signer, tmp_path: Path
) -> None:
    der = x509.load_pem_x509_certificate(signer.certificate).public_bytes(Encoding.DER)
    assert der.count(bytes.fromhex(sound)) == 1
    broken = base64.encodebytes(der.replace(bytes.fromhex(sound), bytes.fromhex(changed)))
    pem = b"-----BEGIN CERTIFICATE-----\n" + broken + b"-----END CERTIFICATE-----\n"
    with pytest.raises(EifError, match=reason):
        write_eif(parts, tmp_path / "no.eif", Signer(pem, signer.key))


def test_every_flipped_byte_is_refused(image: Path) -> None:
    data = image.read_bytes()
    for position in range(len(data)):
        touched = bytearray(data)
        touched[position] ^= 0x41
        image.write_bytes(touched)
        with pytest.raises(EifError):
            read_eif(image)


def test_bytes_moved_between_parts_change_pcr1_or_pcr2_though_pcr0_stays(parts: Parts, tmp_path: Path) -> None:
    """PCR0 hashes a concatenation without lengths: it alone does not fix the borders."""
    (tmp_path / "first").write_bytes(FIRST + SECOND[:6])
    (tmp_path / "second").write_bytes(SECOND[6:])
    moved = measure(parts)
    assert moved[0] == EXPECTED[0]
    assert moved[1] != EXPECTED[1]
    assert moved[2] != EXPECTED[2]


SECTION_AT = 548
METADATA_AT = SECTION_AT + 12 + len(KERNEL) + 12 + len(CMDLINE)


def put(position: int, value: bytes) -> tuple[int, bytes]:
    return position, value


@pytest.mark.parametrize(
    ("patches", "reason"),
    [
        ([put(0, b".elf")], "magic"),
        ([put(4, b"\x00\x03")], "version 3"),
        ([put(6, b"\x00\x02")], "reserved"),
        ([put(24, b"\x00\x01")], "reserved"),
        ([put(540, b"\x00\x00\x00\x01")], "reserved"),
        ([put(26, b"\x00\x21")], "section table"),
        ([put(26, b"\x00\x05")], "section table"),
        ([put(276, b"\x00\x01")], "section table"),
        ([put(532, b"\x00\x01")], "section table"),
        ([put(28, struct.pack(">Q", 549))], "gaps or overlap"),
        ([put(SECTION_AT, b"\x00\x09")], "unknown section type 9"),
        ([put(SECTION_AT, b"\x00\x00")], "unknown section type 0"),
        ([put(SECTION_AT + 2, b"\x00\x01")], "flags"),
        ([put(SECTION_AT + 4, struct.pack(">Q", 1199))], "disagree on its size"),
        ([put(SECTION_AT, b"\x00\x03")], "begin with kernel"),
        ([put(METADATA_AT, b"\x00\x03")], "no metadata, which version 4 requires"),
        ([put(SECTION_AT + 12, b"K")], "CRC mismatch"),
    ],
)
def test_a_header_that_no_writer_writes(patches: list[tuple[int, bytes]], reason: str, image: Path) -> None:
    data = bytearray(image.read_bytes())
    for position, value in patches:
        data[position : position + len(value)] = value
    image.write_bytes(data if reason == "CRC mismatch" else with_crc(bytes(data)))
    with pytest.raises(EifError, match=reason):
        read_eif(image)


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        ("KERNEL CMDLINE METADATA", "no ramdisk"),
        ("KERNEL CMDLINE METADATA SIGNATURE", "no ramdisk"),
        ("KERNEL CMDLINE RAMDISK METADATA", "in this order"),
        ("KERNEL CMDLINE METADATA SIGNATURE RAMDISK", "in this order"),
        ("KERNEL CMDLINE METADATA RAMDISK SIGNATURE SIGNATURE", "in this order"),
    ],
)
def test_sections_in_another_order_or_missing(kinds: str, reason: str) -> None:
    with pytest.raises(EifError, match=reason):
        check_order([SectionType[kind] for kind in kinds.split()])


def test_a_part_that_changes_while_it_is_read_leaves_the_earlier_image(
    parts: Parts, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = image.read_bytes()
    monkeypatch.setattr(Section, "size", property(lambda _section: 1))
    with pytest.raises(EifError, match="changed while it was read"):
        write_eif(parts, image)
    assert image.read_bytes() == before
    assert list(image.parent.glob("image.eif*")) == [image]


@pytest.mark.parametrize("cut", [0, 3, 547, 548, 559, 560, 2000, -1])
def test_a_cut_file_ends_early(cut: int, image: Path) -> None:
    image.write_bytes(image.read_bytes()[:cut])
    with pytest.raises(EifError, match="ends early"):
        read_eif(image)


def test_trailing_bytes_are_refused(image: Path) -> None:
    image.write_bytes(with_crc(image.read_bytes() + b"\x00"))
    with pytest.raises(EifError, match="1 bytes follow"):
        read_eif(image)


def test_metadata_that_is_not_json_is_refused(parts: Parts, tmp_path: Path) -> None:
    write_eif(replace(parts, metadata=b"{"), tmp_path / "bad.eif")
    with pytest.raises(EifError, match="not JSON"):
        read_eif(tmp_path / "bad.eif")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cmdline": b"a\x00b"}, "NUL"),
        ({"ramdisks": ()}, "no ramdisk"),
        ({"metadata": b""}, "no metadata"),
    ],
)
def test_parts_that_cannot_become_an_image(
    changes: dict[str, object], reason: str, parts: Parts, tmp_path: Path
) -> None:
    with pytest.raises(EifError, match=reason):
        write_eif(replace(parts, **changes), tmp_path / "no.eif")  # type: ignore[arg-type]


def test_too_many_ramdisks_are_refused(parts: Parts, tmp_path: Path) -> None:
    full = replace(parts, ramdisks=(parts.ramdisks[0],) * 28)
    write_eif(full, tmp_path / "full.eif")
    assert len(read_eif(tmp_path / "full.eif").sections) == 31
    with pytest.raises(EifError, match="more than 28"):
        write_eif(replace(full, ramdisks=(*full.ramdisks, full.kernel)), tmp_path / "no.eif")
