"""The two ramdisks of an enclave image, laid out like nitro-cli's (facts/enclave.md 3.3).

The first holds init and the kernel modules that it loads. The second holds the application: its root file system in
``rootfs/``, its command in ``cmd``, its environment in ``env``.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from nitro.inputs import BUILD
from nitro.tree import Directory, File, Symlink, Tree
from tools.eif.cpio import Entry, directory, regular, symlink, write_cpio


def write(name: str, entries: Iterable[Entry]) -> Path:
    """The file ``name`` of the build folder, with these entries."""
    BUILD.mkdir(exist_ok=True)
    ramdisk = BUILD / name
    with ramdisk.open("wb") as file:
        write_cpio(entries, file)
    return ramdisk


def bootstrap(init: bytes, modules: Mapping[str, bytes]) -> Iterator[Entry]:
    """``init``, an empty ``dev``, and kernel modules by file name."""
    yield directory("dev")
    yield regular("init", init, 0o755)
    for name, content in modules.items():
        yield regular(name, content)


def application(tree: Tree, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Entry]:
    """The application; ``cmd`` has one argument and ``env`` one variable per line."""
    yield regular("cmd", _lines(command))
    yield regular("env", _lines(f"{name}={value}" for name, value in environment.items()))
    yield directory("rootfs")
    for path, entry in tree.entries():
        target = f"rootfs/{path}"
        match entry:
            case Directory():
                yield directory(target, entry.mode)
            case File():
                yield regular(target, entry.data, entry.mode)
            case Symlink():
                yield symlink(target, entry.target)


def layout() -> str:
    """SHA-256 of two small sample ramdisks, which changes when their layout does."""
    sample = Tree()
    sample.add("bin/program", File(b"\x7fELF", 0o755))
    sample.add("bin/link", Symlink("program"))
    sample.add("tmp", Directory(0o1777))
    archives = io.BytesIO()
    write_cpio(bootstrap(b"\x7fELF", {"module.ko": b"\x7fELF"}), archives)
    write_cpio(application(sample, ["/bin/program", "-x"], {"PATH": "/bin", "LANG": "C"}), archives)
    return hashlib.sha256(archives.getvalue()).hexdigest()


def _lines(words: Iterable[str]) -> bytes:
    return "".join(f"{word}\n" for word in words).encode()
