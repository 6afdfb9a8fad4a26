"""``python -m tools.verify measurements``: does a file name a whole image, fit to verify an enclave against?"""

import argparse
from pathlib import Path

from tools.verify.attestation.measurements import COMPARED_PCRS, Measurements, load_measurements
from tools.verify.claims import Report, passed
from tools.verify.errors import MalformedError, UsageError
from tools.verify.inputs import read_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="measurements.txt")


def run(arguments: argparse.Namespace) -> Report:
    """Report the three registers and the hash by which the registry approves them."""
    measurements = read_measurements(arguments.file)
    claims = [passed(f"PCR{index}", value.hex()) for index, value in zip(COMPARED_PCRS, measurements.pcrs, strict=True)]
    return Report(claims, [f"the registry's PCR hash is 0x{measurements.pcr_hash.hex()}"])


def read_measurements(path: Path) -> Measurements:
    """Raises UsageError for a malformed or incomplete file."""
    try:
        return load_measurements(read_file(path, what="measurements"))
    except MalformedError as error:
        raise UsageError(f"the measurements {path} are {error}") from None
