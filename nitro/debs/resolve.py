"""Resolve the packages to their current versions on the configured mirror; used only to renew the lock."""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from nitro.command import run
from nitro.debs.lock import Deb, Lock
from nitro.errors import BuildError

ARCHIVE = "https://snapshot.debian.org/archive"

# Packages of the image, without further dependencies, since their maintainer scripts are not run.
ROOTFS = (
    "busybox-static",
    "ca-certificates",
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libsqlite3-0",
    "libssl3",
    "libstdc++6",
    "libuuid1",
    "python3.11-minimal",
    "zlib1g",
)
# The kernel's source and the tools that compile it; their dependencies are resolved.
KERNEL = (
    "bc",
    "bison",
    "coreutils",
    "cpio",
    "dash",
    "diffutils",
    "findutils",
    "flex",
    "gcc-12",
    "grep",
    "gzip",
    "libc6-dev",
    "libelf-dev",
    "linux-source-6.12",
    "make",
    "mawk",
    "perl-base",
    "sed",
    "tar",
    "xz-utils",
)

_URI_LINE = re.compile(
    r"^'(?P<uri>[^']+)' (?P<file>[^_ ]+_[^ ]+\.deb) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})$", re.MULTILINE
)
_LOCATION = re.compile(r"/(?P<archive>debian(?:-security)?)/(?P<path>pool/.+)$")


def resolve(date: str, empty_status: Path) -> Lock:
    """A lock of today's candidates. ``date`` as the archive writes it: ``20261123T060000Z``.

    ``empty_status`` is an empty file, so that what the machine has installed decides nothing.
    """
    return Lock(
        ARCHIVE,
        {
            "kernel": _debs(["install", *KERNEL], date, empty_status),
            "rootfs": _debs(["download", *ROOTFS], date, empty_status),
        },
    )


def _debs(what: Sequence[str], date: str, empty_status: Path) -> tuple[Deb, ...]:
    options = {
        "Dir::State::status": empty_status,
        "Dir::Cache::archives": f"{empty_status.parent}/",
        "APT::Install-Recommends": "false",
        "Acquire::ForceHash": "SHA256",
    }
    arguments = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    printed = run(["apt-get", "--print-uris", "--yes", "-qq", *arguments, *what]).decode()
    debs = [_deb(match, date) for match in _URI_LINE.finditer(printed)]
    if len(debs) < len(what) - 1:
        raise BuildError(f"apt-get offers {len(debs)} of {len(what) - 1} packages with a SHA-256")
    return tuple(sorted(debs, key=lambda deb: deb.package))


def _deb(match: re.Match[str], date: str) -> Deb:
    package, version, architecture = match["file"].removesuffix(".deb").split("_")
    found = _LOCATION.search(match["uri"])
    if found is None:
        raise BuildError(f"{package} {version} does not come from Debian's archive")
    location = f"{found['archive']}/{date}/{unquote(found['path'])}"
    return Deb(package, unquote(version), architecture, int(match["size"]), match["sha256"], location)
