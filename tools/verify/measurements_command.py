"""``python -m tools.verify measurements``: does a file name a whole image, fit to verify an enclave against?"""

import argparse
from pathlib import Path

from tools.verify.attestation.measurements import COMPARED_PCRS
from tools.verify.claims import Report, passed
from tools.verify.inputs import read_measurements


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="measurements.txt")


def run(arguments: argparse.Namespace) -> Report:
    """Report the three registers and the hash by which the registry approves them."""
    measurements = read_measurements(arguments.file)
    claims = [passed(f"PCR{index}", value.hex()) for index, value in zip(COMPARED_PCRS, measurements.pcrs, strict=True)]
    return Report(claims, [f"the registry's PCR hash is 0x{measurements.pcr_hash.hex()}"])
