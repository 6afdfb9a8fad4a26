"""A reproducible EIF writer: the same kernel, command line, metadata and ramdisks always give the same bytes."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric import ec

from tools.eif.layout import (
    CRC_BYTES,
    HEADER_BYTES,
    MAX_SECTIONS,
    Architecture,
    EifError,
    Header,
    SectionHeader,
    SectionType,
    section_offsets,
)
from tools.eif.pcrs import Measurement
from tools.eif.signature import certificate_der, sign_pcr0

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Signer:
    """``certificate`` is a PEM file, which is included in the image unchanged."""

    certificate: bytes
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of an image. The first ramdisk boots, the others hold the application."""

    kernel: Path
    cmdline: bytes
    ramdisks: tuple[Path, ...]
    metadata: bytes = b""
    architecture: Architecture = Architecture.X86_64

    def sections(self) -> list["Section"]:
        """All sections but the signature, in file order. Raises EifError."""
        if b"\x00" in self.cmdline:
            raise EifError("the command line contains a NUL byte")
        if not self.ramdisks:
            raise EifError("there is no ramdisk")
        if len(self.ramdisks) > MAX_SECTIONS - 4:
            raise EifError(f"more than {MAX_SECTIONS - 4} ramdisks")
        return [
            Section(SectionType.KERNEL, self.kernel),
            Section(SectionType.CMDLINE, self.cmdline),
            Section(SectionType.METADATA, self.metadata),
            *(Section(SectionType.RAMDISK, ramdisk) for ramdisk in self.ramdisks),
        ]


@dataclass(frozen=True, slots=True)
class Section:
    """A section to be written, from memory or from a file, which is read in chunks."""

    type: SectionType
    source: bytes | Path

    @property
    def size(self) -> int:
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def chunks(self) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            yield self.source
            return
        with self.source.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


def measure(parts: Parts, certificate: bytes | None = None) -> dict[int, bytes]:
    """The PCRs of an image of these parts, signed if ``certificate`` (PEM) is given."""
    measurement = Measurement()
    for section in parts.sections():
        measurement.begin_section(section.type)
        for chunk in section.chunks():
            measurement.update(section.type, chunk)
    if certificate is not None:
        measurement.sign(certificate_der(certificate))
    return measurement.pcrs()


def write_eif(parts: Parts, output: Path, signer: Signer | None = None) -> dict[int, bytes]:
    """Write the image to ``output``, atomically, and return its PCRs."""
    if not parts.metadata:
        raise EifError("there is no metadata")
    pcrs = measure(parts, signer.certificate if signer else None)
    sections = parts.sections()
    if signer:
        signature = sign_pcr0(pcrs[0], signer.certificate, signer.key)
        sections.append(Section(SectionType.SIGNATURE, signature))
    unfinished = output.with_name(output.name + ".partial")
    try:
        with unfinished.open("wb") as file:
            _write(file, sections, parts.architecture)
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    return pcrs


def _write(file: BinaryIO, sections: list[Section], architecture: Architecture) -> None:
    sizes = [section.size for section in sections]
    header = Header(architecture, section_offsets(sizes), tuple(sizes)).pack()
    file.write(header)
    crc = zlib.crc32(header[:-CRC_BYTES])
    for section, size in zip(sections, sizes, strict=True):
        head = SectionHeader(section.type, size).pack()
        crc = zlib.crc32(head, crc)
        file.write(head)
        written = 0
        for chunk in section.chunks():
            crc = zlib.crc32(chunk, crc)
            written += file.write(chunk)
        if written != size:
            raise EifError(f"{section.source!r} changed while it was read")
    file.seek(HEADER_BYTES - CRC_BYTES)
    file.write(crc.to_bytes(CRC_BYTES, "big"))
