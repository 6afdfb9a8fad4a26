"""Where the parts of the emulated enclave are built, and which are missing."""

import shutil
from pathlib import Path

from nitro.inputs import BUILD

FOLDER = BUILD / "enclave-boot"
ROOT = FOLDER / "root"
"""A Debian trixie root: the compilers and libraries of QEMU, QEMU itself, its firmware, gvproxy."""
QEMU = ROOT / "usr/bin/qemu-system-x86_64"
GVPROXY = ROOT / "usr/bin/gvproxy"
FIRMWARE = (ROOT / "usr/share/seabios", ROOT / "usr/share/qemu")
VSOCK = FOLDER / "vhost-device-vsock"
EIF = FOLDER / "variant.eif"

PREPARE = "python -m tests.enclave_boot.prepare"


def missing() -> list[str]:
    """The parts that must be built before the enclave can boot."""
    return [part.name for part in (QEMU, GVPROXY, VSOCK, EIF) if not part.exists()]


def missing_tools() -> list[str]:
    """The build tools that this machine lacks."""
    return [tool for tool in ("mmdebstrap", "unshare", "cargo", "go") if shutil.which(tool) is None]


def in_root(program: Path, root: Path = ROOT) -> list[str | Path]:
    """The command that runs a program of the root with the root's own libraries, without chroot."""
    return [root / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", root / "usr/lib/x86_64-linux-gnu", program]
