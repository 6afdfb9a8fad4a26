"""Build nitriding at a fixed commit."""

import tempfile
from pathlib import Path

from nitro import golang
from nitro.errors import BuildError
from nitro.inputs import Inputs

MODULE = "github.com/brave/nitriding-daemon"
COMMIT = "2b7dfefaee56819681b7f5a4ee8d66a417ad457d"


def build(inputs: Inputs) -> bytes:
    """The static program (about 14 MB). Raises BuildError if the module proxy does not have the commit."""
    with tempfile.TemporaryDirectory() as scratch:
        program = golang.install(MODULE, COMMIT, Path(scratch), inputs)
        info = golang.build_info(program, inputs)
        if COMMIT[:12] not in info:
            raise BuildError(f"nitriding was not built from {COMMIT[:12]}: {info.splitlines()[1:3]}")
        return program.read_bytes()
