"""``nitro/debs.lock``: name, version, size, SHA-256 and location of every .deb.

JSON: ``{"archive": URL, "sets": {SET: [{"package", "version", "architecture", "size", "sha256", "location"}]}}``;
``location`` is relative to ``archive``, a public archive by date, which keeps versions that have left the mirrors.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from nitro.errors import BuildError
from nitro.inputs import ROOT

LOCK_FILE = ROOT / "nitro" / "debs.lock"


@dataclass(frozen=True, slots=True)
class Deb:
    """One package file. ``size`` in bytes, ``sha256`` in hex, ``location`` below the archive."""

    package: str
    version: str
    architecture: str
    size: int
    sha256: str
    location: str

    @property
    def file_name(self) -> str:
        """apt's file name, in which the colon of an epoch is escaped."""
        return f"{self.package}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True)
class Lock:
    archive: str
    sets: dict[str, tuple[Deb, ...]]

    @classmethod
    def load(cls, file: Path = LOCK_FILE) -> "Lock":
        """Raises BuildError if the file is not a lock."""
        try:
            content = json.loads(file.read_text())
            sets = {name: tuple(Deb(**deb) for deb in debs) for name, debs in content["sets"].items()}
            return cls(content["archive"], sets)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BuildError(f"{file.name} is not a package lock: {error}") from error

    def save(self, file: Path = LOCK_FILE) -> None:
        sets = {name: [asdict(deb) for deb in debs] for name, debs in self.sets.items()}
        file.write_text(json.dumps({"archive": self.archive, "sets": sets}, indent=1) + "\n")

    def digest(self, name: str) -> str:
        """SHA-256 over the versions and hashes of one set; locations are not included."""
        lines = (f"{deb.package} {deb.version} {deb.architecture} {deb.sha256}\n" for deb in self.sets[name])
        return hashlib.sha256("".join(lines).encode()).hexdigest()
