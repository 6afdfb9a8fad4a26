"""The expected PCRs of a build: measurements.txt."""

import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.keccak import keccak256
from tools.verify import strict_json
from tools.verify.errors import MalformedError

COMPARED_PCRS = (0, 1, 2)
HOW_TO_COMPLETE = (
    "where nitriding and the kernel can be built, `make kernel` and `python -m nitro.measurements --write` complete it"
)
_PCR_HEX_DIGITS = 96
_SHA384_NAMES = ("SHA384", "SHA512_48")
"""SHA-384 as AWS's tools print it (``Sha384 { ... }``; since image format 0.8, ``Sha512_48 { .. }``), in capitals."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """SHA-384 values of PCR0, PCR1 and PCR2: whole image, kernel with first ramdisk, the rest."""

    pcrs: tuple[bytes, bytes, bytes]

    @property
    def pcr_hash(self) -> bytes:
        """keccak256(PCR0 ‖ PCR1 ‖ PCR2), by which the registry's owner approves an image (facts/enclave.md 6b)."""
        return keccak256(b"".join(self.pcrs))

    def differences(self, pcrs: Mapping[int, bytes]) -> list[str]:
        """Describe each register that differs. All three are compared, because PCR0 alone does not determine the
        boundaries between kernel, command line and ramdisks (facts/enclave.md 2.3, 9)."""
        return [
            f"PCR{index} is {pcrs[index].hex() if index in pcrs else 'absent'}, expected {expected.hex()}"
            for index, expected in zip(COMPARED_PCRS, self.pcrs, strict=True)
            if not hmac.compare_digest(pcrs.get(index, b""), expected)
        ]


def load_measurements(data: bytes) -> Measurements:
    """Read ``{"Measurements": {"HashAlgorithm", "PCR0", "PCR1", "PCR2"}, …}``.

    Raises MalformedError for anything else, also if one of the three is missing.
    """
    values = strict_json.loads_object(data).get("Measurements")
    if not isinstance(values, dict):
        raise MalformedError("without a Measurements object")
    algorithm = values.get("HashAlgorithm")
    if not isinstance(algorithm, str) or _algorithm_name(algorithm) not in _SHA384_NAMES:
        raise MalformedError("using a HashAlgorithm other than SHA384")
    names = [f"PCR{index}" for index in COMPARED_PCRS]
    if missing := [name for name in names if name not in values]:
        raise MalformedError(f"incomplete, without {', '.join(missing)}: {HOW_TO_COMPLETE}")
    pcr0, pcr1, pcr2 = (_pcr(values, index) for index in COMPARED_PCRS)
    return Measurements((pcr0, pcr1, pcr2))


def _algorithm_name(algorithm: str) -> str:
    """``SHA384`` for ``SHA-384`` or for the ``Sha384 { ... }`` that Rust prints for a hasher."""
    return algorithm.partition(" ")[0].upper().replace("-", "")


def _pcr(values: Mapping[str, object], index: int) -> bytes:
    text = values.get(f"PCR{index}")
    if not isinstance(text, str) or len(text) != _PCR_HEX_DIGITS:
        raise MalformedError(f"without a PCR{index} of {_PCR_HEX_DIGITS} hex digits")
    try:
        value = binascii.unhexlify(text)
    except ValueError:
        raise MalformedError(f"carrying a PCR{index} that is not hex") from None
    if not any(value):
        raise MalformedError(f"carrying an all-zero PCR{index}, which is debug mode and not a measurement")
    return value
