"""Build Go programs to the same bytes everywhere: one toolchain, no cgo, no paths, no version-control stamp."""

from collections.abc import Sequence
from pathlib import Path

from nitro.command import run
from nitro.inputs import Inputs

# Go fetches exactly this toolchain through its module proxy where the installed one is another.
TOOLCHAIN = "go1.26.8"
_FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=")
_TARGET = {"GOOS": "linux", "GOARCH": "amd64", "GOAMD64": "v1", "GOEXPERIMENT": "", "CGO_ENABLED": "0"}


def recipe() -> str:
    """What decides a program's bytes beside its source: toolchain, flags, target."""
    return " ".join((TOOLCHAIN, *_FLAGS, *(f"{name}={value}" for name, value in _TARGET.items())))


def install(module: str, version: str, folder: Path, inputs: Inputs) -> Path:
    """The program of a module at a version or commit, as a file below ``folder``.

    Verified against Go's checksum database when it is fetched, and against the ``go.sum`` that this leaves beside the
    modules ever after, also offline.
    """
    workspace = inputs.go / "workspaces" / f"{module.replace('/', '+')}@{version}"
    if not (workspace / "go.mod").exists():
        workspace.mkdir(parents=True, exist_ok=True)
        go = TOOLCHAIN.removeprefix("go")
        (workspace / "go.mod").write_text(f"module workspace\n\ngo {go}\n\nrequire {module} {version}\n")
    program = folder.resolve() / module.rsplit("/", 1)[-1]
    _go(["build", "-mod=mod", *_FLAGS, "-o", str(program), module], inputs, workspace)
    return program


def build(source: Path, target: Path, inputs: Inputs) -> Path:
    """The program whose ``go.mod`` is in ``source``, as the file ``target``."""
    _go(["build", "-mod=readonly", *_FLAGS, "-o", str(target.resolve()), "."], inputs, source)
    return target


def built_from(program: Path, inputs: Inputs) -> str:
    """What the program says of its origin: toolchain, modules and their checksums (``go version -m``)."""
    return _go(["version", "-m", str(program)], inputs)


def _go(arguments: Sequence[str], inputs: Inputs, folder: Path | None = None) -> str:
    environment = {
        "GOENV": "off",
        "GOFLAGS": "",
        "GOWORK": "off",
        "GOTOOLCHAIN": TOOLCHAIN,
        **_TARGET,
        "GOMODCACHE": str(inputs.go.resolve()),
        **({"GOPROXY": "off"} if inputs.offline else {}),
    }
    return run(["go", *arguments], environment=environment, folder=folder).decode()
