"""The binary format of EIF version 4: a header, then contiguous sections, big-endian (facts/enclave.md 3.1)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b".eif"
VERSION = 4
MAX_SECTIONS = 32
DEFAULT_MEMORY_BYTES = 1 << 30
DEFAULT_CPUS = 2

_HEADER = struct.Struct(f">4sHHQQHH{MAX_SECTIONS}Q{MAX_SECTIONS}QII")
_SECTION = struct.Struct(">HHQ")

HEADER_BYTES = _HEADER.size
SECTION_HEADER_BYTES = _SECTION.size
CRC_BYTES = 4
"""Size of the CRC-32, the header's last field, which covers everything else in the file."""


class EifError(Exception):
    """The file is not a valid EIF, or the parts cannot form one."""


class Architecture(IntEnum):
    X86_64 = 0
    AARCH64 = 1


class SectionType(IntEnum):
    KERNEL = 1
    CMDLINE = 2
    RAMDISK = 3
    SIGNATURE = 4
    METADATA = 5


@dataclass(frozen=True, slots=True)
class SectionHeader:
    """``size`` is that of the data that follows, without this header."""

    type: SectionType
    size: int

    def pack(self) -> bytes:
        return _SECTION.pack(self.type, 0, self.size)

    @classmethod
    def unpack(cls, data: bytes) -> "SectionHeader":
        number, flags, size = _SECTION.unpack(data)
        if flags:
            raise EifError(f"a section has flags {flags:#x}, which no writer sets")
        try:
            return cls(SectionType(number), size)
        except ValueError:
            raise EifError(f"unknown section type {number}") from None


@dataclass(frozen=True, slots=True)
class Header:
    """``offsets`` are those of section headers; ``sizes`` do not include these headers."""

    architecture: Architecture
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    crc: int = 0

    def pack(self) -> bytes:
        offsets, sizes = _padded(self.offsets), _padded(self.sizes)
        memory = (DEFAULT_MEMORY_BYTES, DEFAULT_CPUS)
        return _HEADER.pack(
            MAGIC, VERSION, self.architecture, *memory, 0, len(self.sizes), *offsets, *sizes, 0, self.crc
        )

    @classmethod
    def unpack(cls, data: bytes) -> "Header":
        if data[:4] != MAGIC:
            raise EifError("not an EIF: the magic bytes are missing")
        _, version, flags, _, _, reserved, count, *rest = _HEADER.unpack(data)
        offsets, sizes = rest[:MAX_SECTIONS], rest[MAX_SECTIONS : 2 * MAX_SECTIONS]
        unused, crc = rest[2 * MAX_SECTIONS :]
        if version != VERSION:
            raise EifError(f"EIF version {version}; only {VERSION} is understood")
        if flags not in set(Architecture) or reserved or unused:
            raise EifError("a reserved field of the header is in use")
        if count > MAX_SECTIONS or any(offsets[count:]) or any(sizes[count:]):
            raise EifError("the header's section table does not fit its section count")
        return cls(Architecture(flags), tuple(offsets[:count]), tuple(sizes[:count]), crc)


def section_offsets(sizes: Sequence[int]) -> tuple[int, ...]:
    """The offsets of the section headers of contiguous sections of these sizes."""
    offsets = [HEADER_BYTES]
    for size in sizes:
        offsets.append(offsets[-1] + SECTION_HEADER_BYTES + size)
    return tuple(offsets[:-1])


def check_order(types: Sequence[SectionType]) -> None:
    """Check for AWS's order: kernel, command line, metadata, one or more ramdisks, [signature]. Raises EifError.

    Sections are measured in file order, so that another order would have other PCRs. The hypervisor refuses an image of
    version 4 without metadata.
    """
    rest = list(types)
    if rest[:2] != [SectionType.KERNEL, SectionType.CMDLINE]:
        raise EifError("the sections do not begin with kernel and command line")
    rest = rest[2:]
    if SectionType.METADATA not in rest:
        raise EifError(f"there is no metadata, which version {VERSION} requires")
    if rest[0] is SectionType.METADATA:
        rest = rest[1:]
    if rest[-1:] == [SectionType.SIGNATURE]:
        rest = rest[:-1]
    if not rest:
        raise EifError("there is no ramdisk")
    if any(kind is not SectionType.RAMDISK for kind in rest):
        raise EifError("the sections are not kernel, command line, metadata, ramdisks, signature in this order")


def _padded(values: Sequence[int]) -> list[int]:
    return [*values, *[0] * (MAX_SECTIONS - len(values))]
