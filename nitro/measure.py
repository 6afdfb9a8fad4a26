"""Build what can be built on this machine, and compute the digests of inputs and image and the three PCRs."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from nitro import boot, golang, ramdisks
from nitro.debs.lock import Lock
from nitro.eif import application_ramdisk
from nitro.errors import BuildError
from nitro.image import daemon, oci, rootfs, wheels
from nitro.inputs import ROOT, Inputs, exclusive_build
from nitro.tree import Tree
from tools.eif.layout import SectionType
from tools.eif.pcrs import Measurement

ALGORITHM = "SHA384"
PCRS = ("PCR0", "PCR1", "PCR2")
_CHUNK_BYTES = 1 << 20
T = TypeVar("T")


@dataclass
class Measured:
    """The values that this machine can build, by name, and the reasons why others are unavailable."""

    values: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    def mark_unavailable(self, names: Iterable[str], reason: object) -> None:
        self.unavailable.update(dict.fromkeys(names, str(reason)))

    def attempt(self, build: Callable[[], T], *names: str) -> T | None:
        """The result of ``build``; on BuildError None, and ``names`` are marked unavailable."""
        try:
            return build()
        except BuildError as error:
            self.mark_unavailable(names, error)
            return None


def declared(gateway: Tree | None = None) -> dict[str, str]:
    """The inputs contained in this repository, read without building or fetching anything.

    ``gateway`` is the gateway package, if it has been read already.
    """
    return {
        **boot.own_inputs(),
        "go": golang.recipe(),
        "ramdisk layout": ramdisks.layout(),
        "debian packages": Lock.load().digest("rootfs"),
        "gateway": (gateway or rootfs.gateway()).digest(),
        "start.sh": hashlib.sha256((ROOT / "nitro" / "start.sh").read_bytes()).hexdigest(),
        "nitriding commit": daemon.COMMIT,
    }


@exclusive_build()
def measure(inputs: Inputs, program: bytes | None = None, blobs: Path | None = None) -> Measured:
    """Build everything that can be built. ``program`` replaces nitriding, ``blobs`` replaces own kernel and init."""
    gateway = rootfs.gateway()
    measured = Measured(declared(gateway))
    kernel, first = _nitro_cli(measured, blobs) if blobs else _own(measured, inputs)
    second = _image(measured, inputs, gateway, program)
    command_line = measured.values["cmdline"].encode()
    if kernel and first:
        measured.values["PCR1"] = _pcrs(kernel, command_line, first)["PCR1"]
    if second:
        measured.values["PCR2"] = _pcrs(None, b"", None, second)["PCR2"]
    if kernel and first and second:
        measured.values["PCR0"] = _pcrs(kernel, command_line, first, second)["PCR0"]
    return measured


def _own(measured: Measured, inputs: Inputs) -> tuple[Path | None, Path | None]:
    """This repository's kernel, and the first ramdisk with its init."""
    if kernel := measured.attempt(boot.own_kernel, "kernel", "PCR1", "PCR0"):
        measured.values["kernel"] = _sha256(kernel)
    if built := measured.attempt(lambda: boot.own_ramdisk(inputs), "init", "first ramdisk", "PCR1", "PCR0"):
        measured.values.update(built[1])
    return kernel, built and built[0]


def _nitro_cli(measured: Measured, blobs: Path) -> tuple[Path | None, Path | None]:
    """nitro-cli's kernel, and the first ramdisk with its init; its inputs replace the own ones in ``measured``."""
    for name in boot.own_inputs():
        del measured.values[name]
    start = boot.nitro_cli(blobs)
    measured.values.update({**start.digests, "cmdline": start.cmdline.decode()})
    return start.kernel, start.ramdisk


def _image(measured: Measured, inputs: Inputs, gateway: Tree, program: bytes | None) -> Path | None:
    """The second ramdisk. Files, image and ramdisk are also measured without nitriding."""
    whole = ("files", "image", "PCR2", "PCR0")
    parts = tuple(f"{part} without nitriding" for part in ("files", "image", "ramdisk"))
    packages = measured.attempt(lambda: wheels.tree(inputs), "wheels", *parts, *whole)
    program = program or measured.attempt(lambda: daemon.build(inputs), "nitriding", *whole)
    if program:
        measured.values["nitriding"] = hashlib.sha256(program).hexdigest()
    if packages is None:
        return None
    measured.values["wheels"] = packages.digest()
    tree = measured.attempt(lambda: rootfs.build_without_daemon(inputs, packages, gateway), *parts, *whole)
    if tree is None:
        return None
    without = (tree.digest(), _packed(tree), _sha256(application_ramdisk(tree)))
    measured.values.update(zip(parts, without, strict=True))
    if program is None:
        return None
    rootfs.add_daemon(tree, program)
    measured.values.update({"files": tree.digest(), "image": _packed(tree)})
    return application_ramdisk(tree)


def _packed(tree: Tree) -> str:
    return oci.pack(tree, name=rootfs.NAME, command=rootfs.COMMAND, environment=rootfs.ENVIRONMENT).digest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pcrs(kernel: Path | None, cmdline: bytes, *ramdisks: Path | None) -> dict[str, str]:
    """PCR0, PCR1 and PCR2 of an image of the given parts; None stands for an empty one."""
    measurement = Measurement()
    if kernel:
        _feed(measurement, SectionType.KERNEL, kernel)
        measurement.update(SectionType.CMDLINE, cmdline)
    for ramdisk in ramdisks:
        measurement.begin_section(SectionType.RAMDISK)
        if ramdisk:
            _feed(measurement, SectionType.RAMDISK, ramdisk)
    return {f"PCR{index}": value.hex() for index, value in measurement.pcrs().items()}


def _feed(measurement: Measurement, kind: SectionType, source: Path) -> None:
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            measurement.update(kind, chunk)
