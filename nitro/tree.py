"""A root file system in memory: paths, modes and contents, independent of the machine that builds it.

Owner, group and times are not part of it; writers use root and 1970. The builder's umask, locale and file system
therefore have no effect.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nitro.errors import BuildError


@dataclass(frozen=True, slots=True)
class Directory:
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class File:
    data: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Symlink:
    target: str


Entry = Directory | File | Symlink


class Tree:
    """Entries by path without a leading slash. Missing parent directories are created."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, path: str, entry: Entry) -> None:
        """Add ``entry`` at ``path``. Raises BuildError if it conflicts with an entry there or above it."""
        name = PurePosixPath(path)
        if name.is_absolute() or ".." in name.parts or name == PurePosixPath("."):
            raise BuildError(f"{path!r} is not a valid path in an image")
        for parent in [str(each) for each in name.parents][-2::-1]:
            if not isinstance(self._entries.setdefault(parent, Directory()), Directory):
                raise BuildError(f"{path} is below {parent}, which is not a directory")
        existing = self._entries.setdefault(str(name), entry)
        if existing != entry:
            if not (isinstance(existing, Directory) and isinstance(entry, Directory)):
                raise BuildError(f"two inputs have the path {path}")
            self._entries[str(name)] = entry

    def add_tree(self, prefix: str, tree: "Tree") -> None:
        for path, entry in tree.entries():
            self.add(f"{prefix}/{path}", entry)

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """All entries sorted by path components, a directory before its contents."""
        for path in sorted(self._entries, key=lambda path: path.split("/")):
            yield path, self._entries[path]

    def __getitem__(self, path: str) -> Entry:
        return self._entries[path]

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def size(self) -> int:
        """The total size of all files in bytes."""
        return sum(len(entry.data) for _, entry in self.entries() if isinstance(entry, File))

    def listing(self) -> str:
        """One line per entry: mode, path, and the SHA-256 of a file or the target of a symlink."""
        return "".join(f"{_mode(entry):04o} {path} {_content(entry)}\n" for path, entry in self.entries())

    def digest(self) -> str:
        """SHA-256 of ``listing``, in hex."""
        return hashlib.sha256(self.listing().encode()).hexdigest()

    def write_to(self, folder: Path) -> None:
        """Write the tree to ``folder``, which must not exist."""
        folder.mkdir(parents=True)
        for path, entry in self.entries():
            target = folder / path
            match entry:
                case Directory():
                    target.mkdir()
                case File():
                    target.write_bytes(entry.data)
                case Symlink():
                    target.symlink_to(entry.target)
        for path, entry in reversed(list(self.entries())):
            if not isinstance(entry, Symlink):
                (folder / path).chmod(entry.mode)

    @classmethod
    def read_from(cls, folder: Path) -> "Tree":
        """Read the tree in ``folder``, with modes. Raises BuildError for devices and sockets."""
        tree = cls()
        for parent, folders, files in os.walk(folder):
            for name in folders + files:
                source = Path(parent) / name
                path = source.relative_to(folder).as_posix()
                mode = source.lstat().st_mode & 0o7777
                if source.is_symlink():
                    tree.add(path, Symlink(str(source.readlink())))
                elif source.is_dir():
                    tree.add(path, Directory(mode))
                elif source.is_file():
                    tree.add(path, File(source.read_bytes(), mode))
                else:
                    raise BuildError(f"{path} is not a file, directory or link")
        return tree


def _mode(entry: Entry) -> int:
    return 0o777 if isinstance(entry, Symlink) else entry.mode


def _content(entry: Entry) -> str:
    match entry:
        case Directory():
            return "/"
        case File():
            return hashlib.sha256(entry.data).hexdigest()
        case Symlink():
            return f"-> {entry.target}"
