"""The gateway's run-time dependencies: wheels by the hashes of uv.lock, unpacked without running them."""

import shutil
import tempfile
from pathlib import Path

from nitro.command import run
from nitro.errors import BuildError
from nitro.inputs import ROOT, Inputs
from nitro.tree import File, Tree

# Debian 12 has Python 3.11 and glibc 2.36.
PYTHON, PLATFORM = "3.11", "x86_64-manylinux_2_36"
# Metadata of the installer, which contains paths of the build machine.
_INSTALLER_FILES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def requirements(inputs: Inputs) -> str:
    """The run-time dependencies of uv.lock with their hashes, as a requirements file."""
    options = ["--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate"]
    return _uv(["export", *options, "--format", "requirements-txt"], inputs)


def tree(inputs: Inputs) -> Tree:
    """The contents of a ``dist-packages`` folder. Raises BuildError if a hash does not match."""
    with tempfile.TemporaryDirectory() as scratch:
        locked, target = Path(scratch) / "requirements.txt", Path(scratch) / "packages"
        locked.write_text(requirements(inputs))
        _uv(
            [
                *("pip", "install", "--require-hashes", "--no-deps", "--no-compile", "--only-binary", ":all:"),
                *("--link-mode", "copy", "--python-version", PYTHON, "--python-platform", PLATFORM),
                *("--target", str(target), "--requirements", str(locked)),
            ],
            inputs,
        )
        return _installed(target)


def _installed(folder: Path) -> Tree:
    packages = Tree()
    for path, entry in Tree.read_from(folder).entries():
        top, _, rest = path.partition("/")
        if top in ("bin", ".lock") or (top.endswith(".dist-info") and rest in _INSTALLER_FILES):
            continue
        if isinstance(entry, File):
            packages.add(path, File(entry.data))
    return packages


def _uv(arguments: list[str], inputs: Inputs) -> str:
    uv = shutil.which("uv") or ROOT / ".uv" / "bin" / "uv"
    if not Path(uv).exists():
        raise BuildError("uv is not installed")
    mode = ["--offline"] if inputs.offline else []
    command = [uv, "--no-config", "--no-progress", "--cache-dir", inputs.uv.resolve(), *mode, *arguments]
    return run(command, folder=ROOT).decode()
