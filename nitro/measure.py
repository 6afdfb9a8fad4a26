"""Build what can be built here and measure it: every input's digest, the image's, and the three PCRs."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from nitro import boot
from nitro.debs.lock import Lock
from nitro.eif import application_ramdisk
from nitro.errors import BuildError
from nitro.image import daemon, oci, rootfs, wheels
from nitro.image.__main__ import NAME
from nitro.inputs import ROOT, Inputs
from tools.eif.layout import SectionType
from tools.eif.pcrs import Measurement

ALGORITHM = "SHA384"
_PIECE_BYTES = 1 << 20


@dataclass
class Measured:
    """What this machine builds: values by name, and why the others are not there."""

    values: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, dict[str, str]]:
        """The shape of measurements.txt."""
        pcrs = {name: value for name, value in self.values.items() if name.startswith("PCR")}
        recipe = {name: value for name, value in self.values.items() if name not in pcrs}
        return {"Measurements": {"HashAlgorithm": ALGORITHM, **dict(sorted(pcrs.items()))}, "recipe": recipe}

    def lacks(self, names: tuple[str, ...], reason: BuildError) -> None:
        self.unavailable.update(dict.fromkeys(names, str(reason)))


def measure(inputs: Inputs, program: bytes | None = None, blobs: Path | None = None) -> Measured:
    """Build everything that can be built. ``program`` stands in for nitriding, ``blobs`` for our kernel and init."""
    measured = Measured()
    start = _boot(measured, inputs, blobs)
    ramdisk = _image(measured, inputs, program)
    if start:
        measured.values["PCR1"] = _pcrs(start.kernel, start.cmdline, start.ramdisk)["PCR1"]
    if ramdisk:
        measured.values["PCR2"] = _pcrs(None, b"", None, ramdisk)["PCR2"]
    if start and ramdisk:
        measured.values["PCR0"] = _pcrs(start.kernel, start.cmdline, start.ramdisk, ramdisk)["PCR0"]
    return measured


def _boot(measured: Measured, inputs: Inputs, blobs: Path | None) -> boot.Boot | None:
    if not blobs:
        measured.values.update(boot.own_inputs())
    try:
        start = boot.nitro_cli(blobs) if blobs else boot.own(inputs)
    except BuildError as error:
        measured.lacks(("kernel", "init", "PCR1", "PCR0"), error)
        return None
    measured.values.update(start.origin)
    return start


def _image(measured: Measured, inputs: Inputs, program: bytes | None) -> Path | None:
    measured.values.update(
        {
            "debian packages": Lock.load().digest("rootfs"),
            "wheels": wheels.tree(inputs).digest(),
            "gateway": rootfs.gateway(ROOT / "gateway").digest(),
            "start.sh": hashlib.sha256((ROOT / "nitro" / "start.sh").read_bytes()).hexdigest(),
            "nitriding commit": daemon.COMMIT,
        }
    )
    try:
        program = program or daemon.build(inputs)
        tree = rootfs.build(inputs, program)
    except BuildError as error:
        measured.lacks(("nitriding", "files", "image", "PCR2", "PCR0"), error)
        return None
    image = oci.pack(tree, name=NAME, command=rootfs.COMMAND, environment=rootfs.ENVIRONMENT)
    measured.values.update(
        {"nitriding": hashlib.sha256(program).hexdigest(), "files": tree.digest(), "image": image.digest}
    )
    return application_ramdisk(tree)


def _pcrs(kernel: Path | None, cmdline: bytes, *ramdisks: Path | None) -> dict[str, str]:
    """PCR0, PCR1 and PCR2 as if the parts that are given were all there is."""
    measurement = Measurement()
    if kernel:
        _feed(measurement, SectionType.KERNEL, kernel)
        measurement.update(SectionType.CMDLINE, cmdline)
    for ramdisk in ramdisks:
        measurement.begin(SectionType.RAMDISK)
        if ramdisk:
            _feed(measurement, SectionType.RAMDISK, ramdisk)
    return {f"PCR{index}": value.hex() for index, value in measurement.pcrs().items()}


def _feed(measurement: Measurement, kind: SectionType, source: Path) -> None:
    with source.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            measurement.update(kind, piece)
