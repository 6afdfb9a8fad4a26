"""Reproducible builds of Go programs: fixed toolchain, no cgo, no paths, no VCS stamp."""

from collections.abc import Sequence
from pathlib import Path

from nitro.command import run
from nitro.inputs import Inputs

# If another version is installed, Go fetches this toolchain through its module proxy.
TOOLCHAIN = "go1.26.8"
_FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=")
_TARGET = {"GOOS": "linux", "GOARCH": "amd64", "GOAMD64": "v1", "GOEXPERIMENT": "", "CGO_ENABLED": "0"}


def recipe() -> str:
    """Toolchain, flags and target, which together with the source determine a program's bytes."""
    return " ".join((TOOLCHAIN, *_FLAGS, *(f"{name}={value}" for name, value in _TARGET.items())))


def install(module: str, version: str, folder: Path, inputs: Inputs) -> Path:
    """Build the program of a module at a version or commit into ``folder``.

    The module is verified against Go's checksum database when it is fetched, and later, also offline, against the
    ``go.sum`` that is then written to the inputs folder.
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
    """Build the module in ``source`` to the file ``target``."""
    _go(["build", "-mod=readonly", *_FLAGS, "-o", str(target.resolve()), "."], inputs, source)
    return target


def build_info(program: Path, inputs: Inputs) -> str:
    """The program's build information: toolchain, modules and their checksums (``go version -m``)."""
    return _go(["version", "-m", str(program)], inputs)


def _go(arguments: Sequence[str], inputs: Inputs, folder: Path | None = None) -> str:
    environment = {
        "GOENV": "off",
        "GOFLAGS": "-modcacherw",
        "GOWORK": "off",
        "GOTOOLCHAIN": TOOLCHAIN,
        **_TARGET,
        "GOMODCACHE": str(inputs.go.resolve()),
        **({"GOPROXY": "off"} if inputs.offline else {}),
    }
    return run(["go", *arguments], environment=environment, folder=folder).decode()
