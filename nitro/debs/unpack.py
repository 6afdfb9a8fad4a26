"""Read the contents of a .deb without running its scripts."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from nitro.command import run
from nitro.errors import BuildError
from nitro.tree import Directory, Entry, File, Symlink


def contents(deb: Path) -> Iterator[tuple[str, Entry]]:
    """Paths and entries of the data member, in its order, without owners and times. Hard links become copies.

    Set-uid and set-gid bits are dropped, since nothing in the image needs them. Raises BuildError for devices.
    """
    with tarfile.open(fileobj=io.BytesIO(run(["dpkg-deb", "--fsys-tarfile", deb]))) as tar:
        for member in tar:
            path = member.name.removeprefix("./").rstrip("/")
            if path in ("", "."):
                continue
            yield path, _entry(tar, member, deb)


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, deb: Path) -> Entry:
    mode = member.mode & 0o1777
    if member.isdir():
        return Directory(mode)
    if member.issym():
        return Symlink(member.linkname)
    content = tar.extractfile(member) if member.isreg() or member.islnk() else None
    if content is None:
        raise BuildError(f"{deb.name}: {member.name} is not a file, directory or link")
    return File(content.read(), mode)
