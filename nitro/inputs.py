"""Where fetched inputs are kept, and whether more may be fetched."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"


@dataclass(frozen=True)
class Inputs:
    """A folder of inputs: ``debs`` by file name, ``uv`` and ``go`` as those tools keep their caches.

    What an online build leaves here is all that an ``offline`` one needs.
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
