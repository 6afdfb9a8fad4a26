"""The folder of fetched inputs, and whether more may be fetched."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"


@dataclass(frozen=True)
class Inputs:
    """Fetched inputs: ``debs`` by file name, ``uv`` and ``go`` are the caches of these tools.

    An ``offline`` build needs nothing but the folder of an earlier online build.
    """

    folder: Path = BUILD / "inputs"
    offline: bool = False

    @property
    def debs(self) -> Path:
        return self.folder / "debs"

    @property
    def uv(self) -> Path:
        return self.folder / "uv"

    @property
    def go(self) -> Path:
        return self.folder / "go"
