"""The enclave's root file system: Python, the locked wheels, the gateway, nitriding, and a shell for start.sh."""

from pathlib import Path

from nitro.debs.fetch import fetch
from nitro.debs.lock import Lock
from nitro.debs.unpack import contents
from nitro.errors import BuildError
from nitro.image import wheels
from nitro.inputs import ROOT, Inputs
from nitro.tree import Directory, File, Symlink, Tree

PACKAGES = "usr/local/lib/python3.11/dist-packages"
CA_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
START = "usr/local/bin/start.sh"
DAEMON = "usr/local/bin/nitriding"

NAME = "tee-gateway:enclave"
COMMAND = (f"/{START}",)
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "SSL_CERT_FILE": f"/{CA_BUNDLE}",
    "LANG": "C.UTF-8",
}

# Suffixes of files that the gateway package may contain.
_GATEWAY_SUFFIXES = (".py", ".typed", ".toml", ".json", ".pem", ".der")

_LIB_DYNLOAD = "usr/lib/python3.11/lib-dynload"
# Parts of packages that the enclave does not use: documentation, character sets, test modules, modules whose
# libraries are not installed, tools of maintainer scripts.
_EXCLUDED = (
    "etc/ca-certificates",
    "etc/ld.so.conf.d",
    "etc/python3.11",
    "usr/lib/binfmt.d",
    "usr/lib/python3.11/lib2to3",
    "usr/lib/python3.11/pydoc_data",
    "usr/lib/python3.11/sitecustomize.py",
    "usr/lib/x86_64-linux-gnu/engines-3",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/sbin",
    "usr/share",
    *(
        f"{_LIB_DYNLOAD}/{module}.cpython-311-x86_64-linux-gnu.so"
        for module in (
            *("_crypt", "_ctypes_test", "_curses", "_curses_panel", "_dbm", "_testbuffer", "_testcapi"),
            *("_testclinic", "_testimportmultiple", "_testinternalcapi", "_testmultiphase", "_xxtestfuzz"),
            *("nis", "ossaudiodev", "readline", "xxlimited", "xxlimited_35"),
        )
    ),
)
_CERTIFICATES = "usr/share/ca-certificates/mozilla/"

# nitriding writes /run/resolvconf/resolv.conf once its tap device is up.
_CONFIGURATION: dict[str, bytes] = {
    "etc/passwd": b"root:x:0:0:root:/:/bin/false\ngateway:x:65532:65532:gateway:/:/bin/false\n",
    "etc/group": b"root:x:0:\ngateway:x:65532:\n",
    "etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/hosts": b"127.0.0.1 localhost\n",
}
_SYMLINKS = {
    **{f"bin/{applet}": "busybox" for applet in ("sh", "chmod", "chown", "start-stop-daemon")},
    "etc/resolv.conf": "/run/resolvconf/resolv.conf",
    "usr/bin/python3": "python3.11",
    "usr/lib/ssl/cert.pem": f"/{CA_BUNDLE}",
}
# Mount points and writable directories of the running enclave.
_MOUNT_POINTS = {"dev": 0o755, "proc": 0o555, "run": 0o755, "sys": 0o555, "tmp": 0o1777}


def build(inputs: Inputs, daemon: bytes) -> Tree:
    """The whole root file system; ``daemon`` is nitriding's program."""
    root = build_without_daemon(inputs, wheels.tree(inputs), gateway())
    add_daemon(root, daemon)
    return root


def add_daemon(root: Tree, daemon: bytes) -> None:
    root.add(DAEMON, File(daemon, 0o755))


def build_without_daemon(inputs: Inputs, packages: Tree, gateway_package: Tree) -> Tree:
    """The root file system without nitriding; ``packages`` are the third-party Python packages."""
    root = Tree()
    _add_debian(root, fetch(Lock.load(), "rootfs", inputs))
    root.add_tree(PACKAGES, packages)
    root.add_tree(f"{PACKAGES}/gateway", gateway_package)
    root.add(START, File((ROOT / "nitro" / "start.sh").read_bytes(), 0o755))
    for path, content in _CONFIGURATION.items():
        root.add(path, File(content))
    for path, target in _SYMLINKS.items():
        root.add(path, Symlink(target))
    for path, mode in _MOUNT_POINTS.items():
        root.add(path, Directory(mode))
    return root


def gateway(folder: Path = ROOT / "gateway") -> Tree:
    """The gateway package with fixed modes. Raises BuildError for a link, and for a file with an unexpected suffix."""
    package = Tree()
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        if "__pycache__" in path.parts:
            continue
        if file.is_symlink():
            raise BuildError(f"gateway/{path} is a symbolic link, which the image does not follow")
        if file.is_dir():
            continue
        if file.suffix not in _GATEWAY_SUFFIXES:
            raise BuildError(
                f"gateway/{path} does not have a suffix that is allowed in the image: {', '.join(_GATEWAY_SUFFIXES)}"
            )
        package.add(path.as_posix(), File(file.read_bytes()))
    return package


def _add_debian(root: Tree, debs: list[Path]) -> None:
    certificates: dict[str, bytes] = {}
    for deb in debs:
        for path, entry in contents(deb):
            if path.startswith(_CERTIFICATES) and isinstance(entry, File):
                certificates[path] = entry.data
            elif not _is_excluded(path) and not isinstance(entry, Directory):
                root.add(path, entry)
    if not certificates:
        raise BuildError("the package ca-certificates has no certificates")
    root.add(CA_BUNDLE, File(b"".join(certificates[path] for path in sorted(certificates))))


def _is_excluded(path: str) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in _EXCLUDED)
