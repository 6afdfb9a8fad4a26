"""A strict EIF reader, which checks the layout and the CRC of the whole file and measures it."""

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

_CHUNK_BYTES = 1 << 20
_MAX_RETAINED_BYTES = 1 << 20
_RETAINED = (SectionType.CMDLINE, SectionType.METADATA, SectionType.SIGNATURE)


@dataclass(frozen=True, slots=True)
class EifImage:
    """``sections`` are in file order; ``certificate`` is the DER of a signed image's signing certificate."""

    architecture: Architecture
    sections: tuple[SectionHeader, ...]
    cmdline: bytes
    metadata: Any
    certificate: bytes | None
    crc: int
    pcrs: dict[int, bytes]


def read_eif(path: Path) -> EifImage:
    """Read and measure an image. Raises EifError for a layout that AWS's writer does not produce."""
    with path.open("rb") as file:
        return read_image(file)


def read_image(file: BinaryIO) -> EifImage:
    """Like ``read_eif``, for an open file, which is read from its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return _Reader(file, size).read()


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._remaining = size
        self._crc = 0
        self._measurement = Measurement()
        self._data: dict[SectionType, bytes] = {}

    def read(self) -> EifImage:
        raw = self._read_exactly(HEADER_BYTES)
        header = Header.unpack(raw)
        self._crc = zlib.crc32(raw[:-CRC_BYTES])
        if header.offsets != section_offsets(header.sizes):
            raise EifError("the header's offsets leave gaps or overlap")
        sections = tuple(self._section(size) for size in header.sizes)
        check_order([section.type for section in sections])
        if self._remaining:
            raise EifError(f"{self._remaining} bytes follow the last section")
        if self._crc != header.crc:
            raise EifError(f"CRC mismatch: the header has {header.crc:08x}, the content {self._crc:08x}")
        return EifImage(
            architecture=header.architecture,
            sections=sections,
            cmdline=self._data[SectionType.CMDLINE],
            metadata=self._metadata(),
            certificate=self._signature(),
            crc=header.crc,
            pcrs=self._measurement.pcrs(),
        )

    def _section(self, size: int) -> SectionHeader:
        raw = self._read_exactly(SECTION_HEADER_BYTES)
        self._crc = zlib.crc32(raw, self._crc)
        section = SectionHeader.unpack(raw)
        if section.size != size:
            raise EifError(f"the {section.type.name} section and the header disagree on its size")
        self._measurement.begin_section(section.type)
        data = bytearray()
        for chunk in self._chunks(size):
            self._crc = zlib.crc32(chunk, self._crc)
            self._measurement.update(section.type, chunk)
            if section.type in _RETAINED:
                data += chunk
                if len(data) > _MAX_RETAINED_BYTES:
                    raise EifError(f"the {section.type.name} section is larger than {_MAX_RETAINED_BYTES} bytes")
        if section.type in _RETAINED:
            self._data[section.type] = bytes(data)
        return section

    def _metadata(self) -> Any:
        raw = self._data.get(SectionType.METADATA)
        if raw is None:
            return None
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise EifError("the metadata section is not JSON") from None

    def _signature(self) -> bytes | None:
        raw = self._data.get(SectionType.SIGNATURE)
        if raw is None:
            return None
        certificate = read_certificate(raw)
        check_signature(raw, self._measurement.pcrs()[0])
        self._measurement.sign(certificate)
        return certificate

    def _chunks(self, size: int) -> Iterator[bytes]:
        while size:
            chunk = self._read_exactly(min(size, _CHUNK_BYTES))
            size -= len(chunk)
            yield chunk

    def _read_exactly(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self._remaining else b""
        if len(data) != count:
            raise EifError("the file ends early")
        self._remaining -= count
        return data
