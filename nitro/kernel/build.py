"""Compile the kernel in a chroot of the locked packages, which pins the compiler as well as the source."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nitro.command import run
from nitro.debs.fetch import fetch
from nitro.debs.lock import Lock
from nitro.inputs import BUILD, Inputs

HERE = Path(__file__).parent
CACHE = BUILD / "kernel"
_SOURCE = "usr/src/linux-source-6.12.tar.xz"
# Links that maintainer scripts would create; they are not run.
_ALTERNATIVES = {"usr/bin/awk": "mawk", "usr/bin/yacc": "bison.yacc"}
# Directories that the compiler and the shell use.
_DIRECTORIES = ("dev", "proc", "tmp", "src")


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel; ``key`` is the digest of everything that determines its bytes."""

    key: str
    image: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.image).hexdigest()


def key(lock: Lock) -> str:
    """SHA-256 over the locked kernel packages, the configuration and the build script."""
    parts = [lock.digest("kernel").encode(), *((HERE / name).read_bytes() for name in ("enclave.config", "compile.sh"))]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def cmdline() -> bytes:
    """The kernel's command line."""
    return (HERE / "cmdline").read_bytes().rstrip(b"\n")


def image_file(lock: Lock) -> Path:
    """Where the kernel of this lock and configuration is kept once it is compiled."""
    return CACHE / key(lock) / "bzImage"


def cached(lock: Lock) -> Kernel | None:
    """The kernel of this lock and configuration, or None if it has not been compiled."""
    image = image_file(lock)
    return Kernel(key(lock), image.read_bytes()) if image.exists() else None


def build(inputs: Inputs, *, jobs: int) -> Kernel:
    """Fetch, unpack and compile (minutes), and store the result below ``CACHE``. Needs root or user namespaces."""
    lock = Lock.load()
    debs = fetch(lock, "kernel", inputs)
    image = image_file(lock)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="building-") as scratch:
        root = Path(scratch) / "root"
        unpack(debs, root)
        run([*_chroot(root), "sh", "/src/compile.sh", str(jobs)])
        image.parent.mkdir(exist_ok=True)
        (root / "src/linux/.config").rename(image.with_name("config"))
        (root / "src/linux/arch/x86/boot/bzImage").rename(image)
    return Kernel(key(lock), image.read_bytes())


def unpack(debs: list[Path], root: Path) -> None:
    """Unpack the tools into ``root`` and the kernel's source into ``src/linux`` below it."""
    for folder in _DIRECTORIES:
        (root / folder).mkdir(parents=True)
    for deb in debs:
        run(["dpkg-deb", "--extract", deb, root])
    for name, target in _ALTERNATIVES.items():
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)
    source = root / _SOURCE
    run(["tar", "--extract", "--xz", "--no-same-owner", "--file", source, "--directory", root / "src"])
    source.unlink()
    (root / "src" / "linux-source-6.12").rename(root / "src" / "linux")
    for name in ("enclave.config", "compile.sh"):
        shutil.copyfile(HERE / name, root / "src" / name)


def _chroot(root: Path) -> list[str | Path]:
    """The command prefix that runs a command in ``root``, in its own mount namespace and an empty environment.

    Debian has chroot in /usr/sbin, which is not in the PATH of ordinary users.
    """
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    mounts = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc"'
    inside = f'PATH="$PATH:/usr/sbin:/sbin"; {mounts} && exec chroot "$0" env -i "$@"'
    return ["unshare", *as_root, "--mount", "--pid", "--fork", "sh", "-euc", inside, root]
