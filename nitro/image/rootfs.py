"""What is in the enclave: a Python, the locked wheels, nitriding, the gateway, and a shell for two lines of start."""

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

COMMAND = ("/usr/local/bin/start.sh",)
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "SSL_CERT_FILE": f"/{CA_BUNDLE}",
    "LANG": "C.UTF-8",
}

# Kinds of file that the gateway's folder may bring along.
_GATEWAY_SUFFIXES = (".py", ".typed", ".toml", ".json", ".pem", ".der")

_LOADABLE = "usr/lib/python3.11/lib-dynload"
# Parts of packages that an enclave has no use for: papers, other encodings, test modules, modules whose
# libraries are not there, tools that only maintainers' scripts call.
_LEFT_OUT = (
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
        f"{_LOADABLE}/{module}.cpython-311-x86_64-linux-gnu.so"
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
_LINKS = {
    **{f"bin/{applet}": "busybox" for applet in ("sh", "chmod", "chown", "start-stop-daemon")},
    "etc/resolv.conf": "/run/resolvconf/resolv.conf",
    "usr/bin/python3": "python3.11",
    "usr/lib/ssl/cert.pem": f"/{CA_BUNDLE}",
}
# Mounted over, or written to, once the enclave runs.
_PLACES = {"dev": 0o755, "proc": 0o555, "run": 0o755, "sys": 0o555, "tmp": 0o1777}


def build(inputs: Inputs, daemon: bytes) -> Tree:
    """The whole root file system; ``daemon`` is nitriding's program."""
    root = without_daemon(inputs, wheels.tree(inputs), gateway())
    add_daemon(root, daemon)
    return root


def add_daemon(root: Tree, daemon: bytes) -> None:
    root.add(DAEMON, File(daemon, 0o755))


def without_daemon(inputs: Inputs, packages: Tree, ours: Tree) -> Tree:
    """Everything but nitriding; ``packages`` are other people's Python packages, ``ours`` is the gateway."""
    root = Tree()
    _add_debian(root, fetch(Lock.load(), "rootfs", inputs))
    root.add_tree(PACKAGES, packages)
    root.add_tree(f"{PACKAGES}/gateway", ours)
    root.add(START, File((ROOT / "nitro" / "start.sh").read_bytes(), 0o755))
    for path, content in _CONFIGURATION.items():
        root.add(path, File(content))
    for path, target in _LINKS.items():
        root.add(path, Symlink(target))
    for path, mode in _PLACES.items():
        root.add(path, Directory(mode))
    return root


def gateway(folder: Path = ROOT / "gateway") -> Tree:
    """The gateway's own files with fixed modes; a file of an unexpected kind is refused, not packed."""
    package = Tree()
    for file in sorted(folder.rglob("*")):
        if "__pycache__" in file.parts or file.is_dir():
            continue
        path = file.relative_to(folder).as_posix()
        if file.suffix not in _GATEWAY_SUFFIXES:
            raise BuildError(f"gateway/{path} is of no kind that belongs in the image: {', '.join(_GATEWAY_SUFFIXES)}")
        package.add(path, File(file.read_bytes()))
    return package


def _add_debian(root: Tree, debs: list[Path]) -> None:
    certificates: dict[str, bytes] = {}
    for deb in debs:
        for path, entry in contents(deb):
            if path.startswith(_CERTIFICATES) and isinstance(entry, File):
                certificates[path] = entry.data
            elif not _left_out(path) and not isinstance(entry, Directory):
                root.add(path, entry)
    if not certificates:
        raise BuildError("the package ca-certificates has no certificates")
    root.add(CA_BUNDLE, File(b"".join(certificates[path] for path in sorted(certificates))))


def _left_out(path: str) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in _LEFT_OUT)
