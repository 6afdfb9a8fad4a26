"""Reads an EIF as strictly as it is written: every byte is accounted for, measured and under the CRC."""

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tools.eif.layout import (
    CRC_BYTES,
    HEADER_BYTES,
    SECTION_HEADER_BYTES,
    Architecture,
    EifError,
    Header,
    SectionHeader,
    SectionType,
    check_order,
    section_offsets,
)
from tools.eif.pcrs import Measurement
from tools.eif.signature import check_signature, read_certificate

_PIECE_BYTES = 1 << 20
_MAX_KEPT_BYTES = 1 << 20
_KEPT = (SectionType.CMDLINE, SectionType.METADATA, SectionType.SIGNATURE)


@dataclass(frozen=True, slots=True)
class EifImage:
    """What an image holds; ``sections`` in file order, ``certificate`` is the DER of the signer's, if it is signed."""

    architecture: Architecture
    sections: tuple[SectionHeader, ...]
    cmdline: bytes
    metadata: Any
    certificate: bytes | None
    crc: int
    pcrs: dict[int, bytes]


def read_eif(path: Path) -> EifImage:
    """Read and measure an image; EifError for anything that its writer would not have written."""
    with path.open("rb") as file:
        return read_image(file)


def read_image(file: BinaryIO) -> EifImage:
    """The same for an open file, from its beginning."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return _Reader(file, size).read()


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size
        self._crc = 0
        self._measurement = Measurement()
        self._kept: dict[SectionType, bytes] = {}

    def read(self) -> EifImage:
        raw = self._exactly(HEADER_BYTES)
        header = Header.unpack(raw)
        self._crc = zlib.crc32(raw[:-CRC_BYTES])
        if header.offsets != section_offsets(header.sizes):
            raise EifError("the header's offsets leave gaps or overlap")
        sections = tuple(self._section(size) for size in header.sizes)
        check_order([section.type for section in sections])
        if self._left:
            raise EifError(f"{self._left} bytes follow the last section")
        if self._crc != header.crc:
            raise EifError(f"CRC mismatch: the header has {header.crc:08x}, the content {self._crc:08x}")
        return EifImage(
            architecture=header.architecture,
            sections=sections,
            cmdline=self._kept[SectionType.CMDLINE],
            metadata=self._metadata(),
            certificate=self._signature(),
            crc=header.crc,
            pcrs=self._measurement.pcrs(),
        )

    def _section(self, size: int) -> SectionHeader:
        raw = self._exactly(SECTION_HEADER_BYTES)
        self._crc = zlib.crc32(raw, self._crc)
        section = SectionHeader.unpack(raw)
        if section.size != size:
            raise EifError(f"the {section.type.name} section and the header disagree on its size")
        self._measurement.begin(section.type)
        kept = bytearray()
        for piece in self._pieces(size):
            self._crc = zlib.crc32(piece, self._crc)
            self._measurement.update(section.type, piece)
            if section.type in _KEPT:
                kept += piece
                if len(kept) > _MAX_KEPT_BYTES:
                    raise EifError(f"the {section.type.name} section is larger than {_MAX_KEPT_BYTES} bytes")
        if section.type in _KEPT:
            self._kept[section.type] = bytes(kept)
        return section

    def _metadata(self) -> Any:
        raw = self._kept.get(SectionType.METADATA)
        if raw is None:
            return None
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise EifError("the metadata section is not JSON") from None

    def _signature(self) -> bytes | None:
        raw = self._kept.get(SectionType.SIGNATURE)
        if raw is None:
            return None
        certificate = read_certificate(raw)
        check_signature(raw, self._measurement.pcrs()[0])
        self._measurement.sign(certificate)
        return certificate

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._exactly(min(size, _PIECE_BYTES))
            size -= len(piece)
            yield piece

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self._left else b""
        if len(data) != count:
            raise EifError("the file ends early")
        self._left -= count
        return data
