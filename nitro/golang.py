"""Build Go programs to the same bytes everywhere: one toolchain, no cgo, no paths, no version-control stamp."""

from collections.abc import Sequence
from pathlib import Path

from nitro.command import run
from nitro.inputs import Inputs

# Go fetches exactly this toolchain through its module proxy where the installed one is another.
TOOLCHAIN = "go1.26.8"
_FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=")


def install(module: str, version: str, folder: Path, inputs: Inputs) -> Path:
    """The program of a module at a version, verified against Go's checksum database, as a file below ``folder``."""
    _go(["install", *_FLAGS, f"{module}@{version}"], inputs, {"GOBIN": str(folder.resolve())})
    return folder / module.rsplit("/", 1)[-1]


def build(source: Path, target: Path, inputs: Inputs) -> Path:
    """The program whose ``go.mod`` is in ``source``, as the file ``target``."""
    _go(["build", *_FLAGS, "-o", str(target.resolve()), "."], inputs, {}, source)
    return target


def built_from(program: Path, inputs: Inputs) -> str:
    """What the program says of its origin: toolchain, modules and their checksums (``go version -m``)."""
    return _go(["version", "-m", str(program)], inputs, {})


def _go(arguments: Sequence[str], inputs: Inputs, extra: dict[str, str], folder: Path | None = None) -> str:
    environment = {
        "GOENV": "off",
        "GOTOOLCHAIN": TOOLCHAIN,
        "GOFLAGS": "-mod=readonly" if folder else "",
        "GOOS": "linux",
        "GOARCH": "amd64",
        "GOAMD64": "v1",
        "GOEXPERIMENT": "",
        "CGO_ENABLED": "0",
        "GOMODCACHE": str(inputs.go.resolve()),
        **({"GOPROXY": "off", "GONOSUMDB": "*"} if inputs.offline else {}),
        **extra,
    }
    return run(["go", *arguments], environment=environment, folder=folder).decode()
