"""Build the emulator of the Nitro hypervisor and of the parent instance: QEMU, its vsock device, gvproxy.

QEMU has the machine ``nitro-enclave`` since 9.2; Debian's binaries are built without it, so trixie's source
is compiled. The vsock device has CID 2 for the host, but an enclave connects to CID 3: one constant of the device is
patched, so that the image stays unchanged.
"""

import shutil
import tempfile
from pathlib import Path

from nitro.command import run
from nitro.errors import BuildError
from tests.enclave_boot.paths import ROOT, VSOCK

MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITE = "trixie"
SIGNED = f"[signed-by={KEYRING}] {MIRROR} {SUITE} main"
PACKAGES = (
    *(
        "bash",
        "bison",
        "ca-certificates",
        "coreutils",
        "dash",
        "diffutils",
        "dpkg",
        "dpkg-dev",
        "findutils",
        "flex",
        "gawk",
        "gcc",
    ),
    *("grep", "gzip", "hostname", "libc6-dev", "libcbor-dev", "libfdt-dev", "libglib2.0-dev", "libgnutls28-dev"),
    *("make", "meson", "ninja-build", "patch", "perl", "pkgconf", "python3", "python3-venv", "sed", "tar", "xz-utils"),
    *("gvproxy", "qemu-system-data", "seabios"),
)
# Kept by maintainers' scripts, which are not run.
ALTERNATIVES = {"awk": "gawk", "cc": "gcc", "yacc": "bison.yacc"}
CA_BUNDLE = "etc/ssl/certs/ca-certificates.crt"

CRATE, VERSION = "vhost-device-vsock", "0.3.0"
HOST_CID = "VSOCK_HOST_CID: u64 = {};"
MANIFEST = f"""\
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"

[lib]
path = "fetch.rs"

[dependencies]
{CRATE} = "={VERSION}"
"""


def build_qemu() -> None:
    """Takes about eight minutes of CPU time. Needs root or user namespaces. Raises BuildError."""
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.parent.mkdir(parents=True, exist_ok=True)
    source = 'cd "$1/src" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get source --download-only qemu'
    run(
        [
            *("mmdebstrap", "--variant=extract", f"--include={','.join(PACKAGES)}"),
            f'--extract-hook=mkdir "$1/src" && {source}',
            *(SUITE, ROOT, f"deb {SIGNED}", f"deb-src {SIGNED}"),
        ]
    )
    for name, target in ALTERNATIVES.items():
        (ROOT / "usr/bin" / name).symlink_to(target)
    # pip reads them before it installs anything, even from a wheel beside it.
    certificates = sorted((ROOT / "usr/share/ca-certificates/mozilla").iterdir())
    (ROOT / CA_BUNDLE).write_bytes(b"".join(each.read_bytes() for each in certificates))
    shutil.copyfile(Path(__file__).parent / "qemu.sh", ROOT / "src/qemu.sh")
    inside = 'mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" env -i PATH=/usr/bin "$@"'
    run(["nice", "unshare", "--mount", "--pid", "--fork", "sh", "-euc", inside, ROOT, "sh", "/src/qemu.sh"])
    shutil.rmtree(ROOT / "src")


def extract_gvproxy(folder: Path) -> None:
    """Extract gvproxy and its libraries. Raises BuildError."""
    run(["mmdebstrap", "--quiet", "--variant=extract", "--include=gvproxy", SUITE, folder, f"deb {SIGNED}"])


def build_vsock() -> None:
    """Build the published crate with the parent's CID. Raises BuildError."""
    VSOCK.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=VSOCK.parent) as scratch:
        folder = Path(scratch)
        (folder / "Cargo.toml").write_text(MANIFEST)
        (folder / "fetch.rs").touch()
        run(["cargo", "vendor", "--quiet", "vendor"], folder=folder)
        crate = folder / CRATE
        (folder / "vendor" / CRATE).rename(crate)
        set_host_cid(crate / "src/vhu_vsock.rs")
        (folder / "Cargo.toml").unlink()
        run(["nice", "cargo", "build", "--quiet", "--release", "--locked"], folder=crate)
        shutil.copy(crate / "target/release" / CRATE, VSOCK)


def set_host_cid(source: Path) -> None:
    text = source.read_text()
    if text.count(HOST_CID.format(2)) != 1:
        raise BuildError(f"{CRATE} {VERSION} does not say once that its host is CID 2")
    source.write_text(text.replace(HOST_CID.format(2), HOST_CID.format(3)))
