"""Fetch the .deb files of a lock from the inputs folder, the configured mirror, or the dated archive."""

import hashlib
import http.client
import shutil
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from nitro.command import run
from nitro.debs.lock import Deb, Lock
from nitro.errors import BuildError
from nitro.inputs import Inputs

Source = Callable[[Deb, Path], Path]


def fetch(lock: Lock, name: str, inputs: Inputs) -> list[Path]:
    """The verified files of one set, in the lock's order. Raises BuildError, which names the package."""
    return [_fetch_deb(deb, lock.archive, inputs) for deb in lock.sets[name]]


def _fetch_deb(deb: Deb, archive: str, inputs: Inputs) -> Path:
    target = inputs.debs / deb.file_name
    if target.exists():
        _verify(deb, target)
        return target
    if inputs.offline:
        raise BuildError(f"{deb}: {deb.file_name} is not in {inputs.debs.name}/ of the offline folder")
    sources: tuple[tuple[str, Source], ...] = (
        ("mirror", _from_mirror),
        ("archive", lambda deb, folder: _from_archive(deb, folder, archive)),
    )
    failures = []
    for label, source in sources:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                file = source(deb, Path(scratch))
                _verify(deb, file)
            except BuildError as error:
                failures.append(f"{label}: {error}")
                continue
            inputs.debs.mkdir(parents=True, exist_ok=True)
            shutil.move(file, target)
            return target
    raise BuildError(f"{deb} cannot be fetched as locked; " + "; ".join(failures))


def _verify(deb: Deb, file: Path) -> None:
    content = file.read_bytes()
    if len(content) != deb.size:
        raise BuildError(f"{deb} has {len(content)} bytes, expected {deb.size} as locked")
    digest = hashlib.sha256(content).hexdigest()
    if digest != deb.sha256:
        raise BuildError(f"{deb} has SHA-256 {digest}, expected {deb.sha256} as locked")


def _from_mirror(deb: Deb, folder: Path) -> Path:
    folder.chmod(0o755)
    run(
        ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"{deb.package}={deb.version}"],
        folder=folder,
    )
    files = list(folder.glob("*.deb"))
    if len(files) != 1:
        raise BuildError(f"apt-get fetched {len(files)} files")
    return files[0]


def _from_archive(deb: Deb, folder: Path, archive: str) -> Path:
    archived = folder / "archived.deb"
    try:
        with urllib.request.urlopen(f"{archive}/{deb.location}", timeout=60) as answer, archived.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
    except (OSError, http.client.HTTPException) as error:
        raise BuildError(f"{type(error).__name__} {error}") from error
    return archived
