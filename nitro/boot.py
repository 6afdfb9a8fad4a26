"""The boot parts of an image (kernel, command line, first ramdisk), built by one of two recipes."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nitro import golang
from nitro.debs.lock import Lock
from nitro.errors import BuildError
from nitro.inputs import ROOT, Inputs
from nitro.kernel.build import cmdline, image_file, key
from nitro.ramdisks import bootstrap, write
from nitro.tree import File, Tree

OWN, NITRO_CLI = "own-kernel", "nitro-cli-blobs"
_INIT = ROOT / "nitro" / "init"


@dataclass(frozen=True)
class Boot:
    """``kernel`` and ``ramdisk`` are files; ``digests`` are those of all inputs, by name."""

    recipe: str
    kernel: Path
    cmdline: bytes
    ramdisk: Path
    digests: dict[str, str]


def own_inputs() -> dict[str, str]:
    """The inputs that determine the bytes of kernel and init, without compiling either."""
    return {
        "boot": OWN,
        "kernel recipe": key(Lock.load()),
        "cmdline": cmdline().decode(),
        "init source": _init_source().digest(),
    }


def own(inputs: Inputs) -> Boot:
    """This repository's kernel, which must be compiled already, and its init: the reproducible recipe."""
    kernel, (ramdisk, init) = own_kernel(), own_ramdisk(inputs)
    digests = {**own_inputs(), "kernel": _sha256(kernel.read_bytes()), **init}
    return Boot(OWN, kernel, cmdline(), ramdisk, digests)


def own_kernel() -> Path:
    """The compiled kernel. Raises BuildError if it has not been compiled."""
    kernel = image_file(Lock.load())
    if not kernel.exists():
        raise BuildError("the kernel of this lock and configuration is not compiled yet: make kernel")
    return kernel


def own_ramdisk(inputs: Inputs) -> tuple[Path, dict[str, str]]:
    """The first ramdisk with this repository's init, and the digests of both."""
    init = build_init(inputs)
    ramdisk = _ramdisk(OWN, init, {})
    return ramdisk, {"init": _sha256(init), "first ramdisk": _sha256(ramdisk.read_bytes())}


def nitro_cli(blobs: Path) -> Boot:
    """AWS's kernel, init and NSM module from an operator's host (``/usr/share/nitro_enclaves/blobs``)."""
    try:
        files = {name: (blobs / name).read_bytes() for name in ("bzImage", "cmdline", "init", "nsm.ko")}
    except OSError as error:
        raise BuildError(f"{blobs} has no nitro-cli blobs: {error}") from error
    command_line = files["cmdline"].rstrip(b"\n")
    digests = {"boot": NITRO_CLI, **{name: _sha256(content) for name, content in files.items()}}
    ramdisk = _ramdisk(NITRO_CLI, files["init"], {"nsm.ko": files["nsm.ko"]})
    return Boot(NITRO_CLI, blobs / "bzImage", command_line, ramdisk, digests)


def build_init(inputs: Inputs) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        return golang.build(_INIT, Path(scratch) / "init", inputs).read_bytes()


def _init_source() -> Tree:
    source = Tree()
    for file in sorted(_INIT.iterdir()):
        if file.suffix in (".go", ".mod", ".sum") and not file.name.endswith("_test.go"):
            source.add(file.name, File(file.read_bytes()))
    return source


def _ramdisk(recipe: str, init: bytes, modules: dict[str, bytes]) -> Path:
    return write(f"bootstrap-{recipe}.cpio", bootstrap(init, modules))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
