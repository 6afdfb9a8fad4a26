"""The two ramdisks of an enclave image, laid out as nitro-cli's (facts/enclave.md 3.3).

The first boots: init, and whatever modules it loads. The second is the image: its root file system below ``rootfs/``,
its command in ``cmd``, its environment in ``env``.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence

from nitro.tree import Directory, File, Symlink, Tree
from tools.eif.cpio import Entry, directory, regular, symlink, write_cpio


def bootstrap(init: bytes, modules: Mapping[str, bytes] | None = None) -> Iterator[Entry]:
    """``init``, an empty ``dev``, and kernel modules by file name."""
    yield directory("dev")
    yield regular("init", init, 0o755)
    for name, content in (modules or {}).items():
        yield regular(name, content)


def application(tree: Tree, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Entry]:
    """The image: what ``docker load`` would run as ``command``, one argument and one variable a line."""
    yield regular("cmd", _lines(command))
    yield regular("env", _lines(f"{name}={value}" for name, value in environment.items()))
    yield directory("rootfs")
    for path, entry in tree.entries():
        place = f"rootfs/{path}"
        match entry:
            case Directory():
                yield directory(place, entry.mode)
            case File():
                yield regular(place, entry.data, entry.mode)
            case Symlink():
                yield symlink(place, entry.target)


def layout() -> str:
    """SHA-256 of two small ramdisks: moves when the way of laying them out does."""
    sample = Tree()
    sample.add("bin/program", File(b"\x7fELF", 0o755))
    sample.add("bin/link", Symlink("program"))
    sample.add("tmp", Directory(0o1777))
    archives = io.BytesIO()
    write_cpio(bootstrap(b"\x7fELF", {"module.ko": b"\x7fELF"}), archives)
    write_cpio(application(sample, ["/bin/program", "-x"], {"PATH": "/bin", "LANG": "C"}), archives)
    return hashlib.sha256(archives.getvalue()).hexdigest()


def _lines(words: Sequence[str] | Iterator[str]) -> bytes:
    return "".join(f"{word}\n" for word in words).encode()
