"""Reproducible initial ramdisks: newc cpio archives that depend only on paths, modes and contents.

Entries are sorted by path, inodes are numbered from 1, owner, group, times and devices are 0, link counts are 1.
"""

import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_BLOCK_BYTES = 512
_MAX_FILE_BYTES = (1 << 32) - 1
_CHUNK_BYTES = 1 << 20


class CpioError(Exception):
    """An invalid entry; the message names it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """``path`` is relative, with ``/`` as separator; ``mode`` includes the type bits.

    ``data`` is the content of a file or the target of a symlink.
    """

    path: str
    mode: int
    data: bytes | Path = b""


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, stat.S_IFDIR | mode)


def regular(path: str, data: bytes | Path, mode: int = 0o644) -> Entry:
    """A regular file with the given bytes, or with those of a file on disk, which is read in chunks."""
    return Entry(path, stat.S_IFREG | mode, data)


def symlink(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def write_cpio(entries: Iterable[Entry], fileobj: BinaryIO) -> None:
    """Write the archive to ``fileobj``, padded to 512 bytes.

    Raises CpioError for a path that is absolute, not normalized or duplicate, or whose parent is not a directory entry.
    """
    ordered = sorted(entries, key=lambda entry: entry.path.encode())
    _check(ordered)
    position = 0
    for inode, entry in enumerate(ordered, start=1):
        position += _write_entry(fileobj, entry, inode)
    position += _write_header(fileobj, _TRAILER, mode=0, inode=0, size=0)
    fileobj.write(bytes(-position % _BLOCK_BYTES))


def _check(ordered: list[Entry]) -> None:
    directories = {""}
    previous = None
    for entry in ordered:
        parts = entry.path.split("/")
        if "\x00" in entry.path or any(part in ("", ".", "..") for part in parts) or entry.path == _TRAILER:
            raise CpioError(f"not a name for an archive: {entry.path!r}")
        if entry.path == previous:
            raise CpioError(f"given twice: {entry.path}")
        if "/".join(parts[:-1]) not in directories:
            raise CpioError(f"its directory is not in the archive: {entry.path}")
        if stat.S_ISDIR(entry.mode):
            directories.add(entry.path)
        previous = entry.path


def _write_entry(fileobj: BinaryIO, entry: Entry, inode: int) -> int:
    with _open(entry.data) as (source, size):
        if size > _MAX_FILE_BYTES:
            raise CpioError(f"larger than 4 GiB: {entry.path}")
        position = _write_header(fileobj, entry.path, entry.mode, inode, size)
        written = 0
        while chunk := source.read(_CHUNK_BYTES):
            written += fileobj.write(chunk)
        if written != size:
            raise CpioError(f"changed while it was read: {entry.path}")
    return position + written + _pad(fileobj, written)


@contextmanager
def _open(data: bytes | Path) -> Iterator[tuple[BinaryIO, int]]:
    if isinstance(data, bytes):
        yield BytesIO(data), len(data)
        return
    with data.open("rb") as file:
        yield file, data.stat().st_size


def _write_header(fileobj: BinaryIO, path: str, mode: int, inode: int, size: int) -> int:
    name = path.encode() + b"\x00"
    owner, links, time, devices, check = (0, 0), 1, 0, (0, 0, 0, 0), 0
    fields = (inode, mode, *owner, links, time, size, *devices, len(name), check)
    head = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    fileobj.write(head)
    return len(head) + _pad(fileobj, len(head))


def _pad(fileobj: BinaryIO, length: int) -> int:
    return fileobj.write(bytes(-length % 4))
