"""Enclave image files: parsed and measured to the last byte, or an EifError.

Images are written here instead of by tools/eif, so that misplaced sections and signature sections of any CBOR have
correct sizes, offsets and CRC.
"""

import base64
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from random import Random

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from tools.eif.layout import EifError
from tools.eif.reader import read_image
from tools.eif.signature import sign_pcr0
from tools.fuzz.cbor import cbor_value, mutate_cbor
from tools.fuzz.mutations import mutate_bytes, mutate_tree
from tools.fuzz.target import BrokenPropertyError, Target

_KERNEL, _CMDLINE, _RAMDISK, _SIGNATURE, _METADATA = 1, 2, 3, 4, 5
_METADATA_TEXTS = (b'{"ImageName":"n"}', b"{}", b"[" * 3000, b"\xff", b"1e999", b"", b'"\\ud800"')
_CRC_AT, _HEADER_BYTES = 544, 548

Section = tuple[int, bytes]


@dataclass(frozen=True)
class Image:
    """A file's bytes; ``pcrs`` of an image that must be accepted, None for one that may be refused."""

    data: bytes
    pcrs: dict[int, bytes] | None


@cache
def _signer() -> tuple[bytes, ec.EllipticCurvePrivateKey]:
    """A constant certificate as PEM and its key."""
    key = ec.derive_private_key(7, ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "image signer")])
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, end)
    return builder.sign(key, SHA384(), ecdsa_deterministic=True).public_bytes(Encoding.PEM), key


def _make(random: Random) -> Image:
    ramdisks = [(_RAMDISK, random.randbytes(random.randrange(60))) for _ in range(random.randint(1, 3))]
    metadata = (_METADATA, random.choice(_METADATA_TEXTS[:2]))
    sections: list[Section] = [(_KERNEL, b"kernel"), (_CMDLINE, b"console=ttyS0"), metadata, *ramdisks]
    pcrs = _measured(sections)
    if random.random() < 0.6:
        certificate, key = _signer()
        pcrs[8] = _pcr(x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER))
        sections.append((_SIGNATURE, sign_pcr0(pcrs[0], certificate, key)))
    match random.randrange(5):
        case 0:
            return Image(_file(sections), pcrs)
        case 1:
            return Image(_file(_mutate_sections(random, sections)), None)
        case 2:
            data = bytearray(mutate_bytes(random, _file(sections), random.randint(1, 3)))
            data[_CRC_AT:_HEADER_BYTES] = _crc(bytes(data))
            return Image(bytes(data), None)
        case 3:
            return Image(mutate_bytes(random, _file(sections), random.randint(1, 3)), None)
    changed = [(kind, _mutate_signature(random, body) if kind == _SIGNATURE else body) for kind, body in sections]
    return Image(_file(changed), None)


def _mutate_sections(random: Random, sections: list[Section]) -> list[Section]:
    """A section removed, duplicated, moved, or with another type or content."""
    sections = list(sections)
    place, other = random.randrange(len(sections)), random.randrange(len(sections))
    kind, body = sections[place]
    match random.randrange(5):
        case 0:
            del sections[place]
        case 1:
            sections.insert(other, sections[place])
        case 2:
            sections[place], sections[other] = sections[other], sections[place]
        case 3:
            sections[place] = (random.choice((0, 1, 2, 3, 4, 5, 6, 65535)), body)
        case 4:
            sections[place] = (kind, random.choice(_METADATA_TEXTS) if kind == _METADATA else body + b"x")
    return sections


def _mutate_signature(random: Random, section: bytes) -> bytes:
    """A mutation of the section's list, its certificate, its COSE_Sign1 or the payload in that."""
    [entry] = cbor2.loads(section)
    certificate, cose = bytes(entry["signing_certificate"]), cbor2.loads(bytes(entry["signature"]))
    match random.randrange(4):
        case 0:
            return mutate_cbor(random, [entry], random.randint(1, 2))
        case 1:
            der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
            entry["signing_certificate"] = _pem(mutate_bytes(random, der, random.randint(1, 2)))
        case 2:
            entry["signature"] = mutate_cbor(random, cose, random.randint(1, 2))
        case 3:
            payload = mutate_tree(random, cbor2.loads(cose[2]), 1, cbor_value)
            entry["signature"] = _signed(cbor2.dumps(payload))
    return cbor2.dumps([entry])


def _signed(payload: bytes) -> bytes:
    """A COSE_Sign1 by the signer's key over any payload."""
    protected = bytes.fromhex("a1013822")
    to_be_signed = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = decode_dss_signature(_signer()[1].sign(to_be_signed, ec.ECDSA(SHA384(), deterministic_signing=True)))
    return cbor2.dumps([protected, {}, payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])


def _pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def _file(sections: list[Section]) -> bytes:
    """An image of these sections, contiguous after the header."""
    sizes = [len(body) for _, body in sections]
    offsets = [_HEADER_BYTES + sum(12 + size for size in sizes[:place]) for place in range(len(sizes))]
    header = b".eif" + struct.pack(">HHQQHH", 4, 0, 1 << 30, 2, 0, len(sections))
    for words in (offsets, sizes):
        header += struct.pack(">32Q", *words, *[0] * (32 - len(words)))
    header += bytes(4)
    content = b"".join(struct.pack(">HHQ", kind, 0, len(body)) + body for kind, body in sections)
    return header + zlib.crc32(content, zlib.crc32(header)).to_bytes(4, "big") + content


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data[_HEADER_BYTES:], zlib.crc32(data[:_CRC_AT])).to_bytes(4, "big")


def _sections(data: bytes) -> list[Section]:
    """The sections of an accepted image."""
    sections, position = list[Section](), _HEADER_BYTES
    while position < len(data):
        kind, _, size = struct.unpack_from(">HHQ", data, position)
        sections.append((kind, data[position + 12 : position + 12 + size]))
        position += 12 + size
    return sections


def _measured(sections: list[Section]) -> dict[int, bytes]:
    boot = b"".join(body for kind, body in sections if kind in (_KERNEL, _CMDLINE))
    first, *rest = (body for kind, body in sections if kind == _RAMDISK)
    return {0: _pcr(boot + first + b"".join(rest)), 1: _pcr(boot + first), 2: _pcr(b"".join(rest))}


def _pcr(content: bytes) -> bytes:
    return hashlib.sha384(bytes(48) + hashlib.sha384(content).digest()).digest()


def _check(image: Image) -> None:
    try:
        taken = read_image(io.BytesIO(image.data))
    except EifError as error:
        if image.pcrs is not None:
            raise BrokenPropertyError("a sound image was refused") from error
        return
    if image.pcrs is not None and taken.pcrs != image.pcrs:
        raise BrokenPropertyError(f"{taken.pcrs} instead of {image.pcrs}")
    sections = _sections(image.data)
    kinds = [kind for kind, _ in sections]
    if kinds != [section.type for section in taken.sections] or kinds[:3] != [_KERNEL, _CMDLINE, _METADATA]:
        raise BrokenPropertyError(f"sections {kinds}")
    if _crc(image.data) != image.data[_CRC_AT:_HEADER_BYTES] or _measured(sections).items() - taken.pcrs.items():
        raise BrokenPropertyError("taken with a wrong CRC, or measured wrong")
    if (8 in taken.pcrs) != (_SIGNATURE in kinds) or (
        8 in taken.pcrs and taken.pcrs[8] != _pcr(taken.certificate or b"")
    ):
        raise BrokenPropertyError("PCR8 is not the signing certificate's")


ENCLAVE_IMAGES = Target("enclave-images", _make, _check)
