"""Platform configuration registers of an enclave image (facts/enclave.md 3.2).

``PCRn = SHA384(0^48 ‖ SHA384(data))``. PCR0: kernel, command line, all ramdisks; PCR1: kernel, command line, first
ramdisk; PCR2: the other ramdisks; PCR8: the signing certificate's DER. Lengths, headers and metadata are not measured.
"""

import hashlib
from collections.abc import Mapping

from tools.eif.layout import SectionType

PCR_BYTES = 48

Pcrs = Mapping[int, bytes]


def extend(digest: bytes) -> bytes:
    """The value of a zero register extended by one SHA-384 digest."""
    return hashlib.sha384(bytes(PCR_BYTES) + digest).digest()


def measurements(pcrs: Pcrs) -> dict[str, dict[str, str]]:
    """The JSON shape of measurements.txt and of ``nitro-cli build-enclave``."""
    registers = {f"PCR{index}": value.hex() for index, value in sorted(pcrs.items())}
    return {"Measurements": {"HashAlgorithm": "SHA384", **registers}}


class Measurement:
    """Computes the PCRs from the sections' data, in file order and chunks of any size."""

    def __init__(self) -> None:
        self._image = hashlib.sha384()
        self._bootstrap = hashlib.sha384()
        self._application = hashlib.sha384()
        self._certificate: bytes | None = None
        self._ramdisks = 0

    def begin_section(self, kind: SectionType) -> None:
        """Start a section. Its data follows in calls of ``update``."""
        if kind is SectionType.RAMDISK:
            self._ramdisks += 1

    def update(self, kind: SectionType, chunk: bytes) -> None:
        if kind in (SectionType.KERNEL, SectionType.CMDLINE, SectionType.RAMDISK):
            self._image.update(chunk)
            (self._application if self._ramdisks > 1 else self._bootstrap).update(chunk)

    def sign(self, certificate: bytes) -> None:
        """Add PCR8 of a signed image; ``certificate`` is DER."""
        self._certificate = certificate

    def pcrs(self) -> dict[int, bytes]:
        """PCR0, PCR1, PCR2 and, for a signed image, PCR8."""
        digests = {0: self._image.digest(), 1: self._bootstrap.digest(), 2: self._application.digest()}
        if self._certificate is not None:
            digests[8] = hashlib.sha384(self._certificate).digest()
        return {index: extend(digest) for index, digest in digests.items()}
