"""Our EIFs against AWS's own crate aws-nitro-enclaves-image-format: same bytes, same PCRs, mutually readable."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurve

from tests.tools.eif.conftest import make_signer, write_signer
from tools.eif.layout import Architecture
from tools.eif.pcrs import measurements
from tools.eif.reader import read_eif
from tools.eif.writer import Parts, Signer, write_eif

Run = Callable[..., Any]

SOURCE = Path(__file__).parent / "aws_eif"
TARGET = Path(__file__).parents[3] / "build" / "aws_eif"

pytestmark = [pytest.mark.slow, pytest.mark.needs("cargo")]


@pytest.fixture(scope="session")
def aws_eif() -> Run:
    """Build the Rust program (minutes the first time) and run it; return its JSON output."""
    subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--target-dir", str(TARGET)],
        cwd=SOURCE,
        check=True,
        timeout=1800,
    )

    def run(*arguments: object) -> Any:
        command = [str(TARGET / "debug" / "aws_eif"), *map(str, arguments)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout)

    return run


def build_with_crate(aws_eif: Run, parts: Parts, output: Path, *signer: Path) -> dict[str, str]:
    metadata = output.with_suffix(".json")
    metadata.write_bytes(parts.metadata)
    cmdline, flags = parts.cmdline.decode(), int(parts.architecture)
    built = aws_eif("build", parts.kernel, cmdline, metadata, output, flags, *signer, "--", *parts.ramdisks)
    return {name: value for name, value in built.items() if name.startswith("PCR")}


def pcrs(image: dict[int, bytes]) -> dict[str, str]:
    stated = measurements(image)["Measurements"]
    return {name: value for name, value in stated.items() if name.startswith("PCR")}


@pytest.mark.parametrize("architecture", Architecture)
@pytest.mark.parametrize("ramdisks", [1, 2, 3])
def test_the_same_bytes_and_pcrs(
    aws_eif: Run, parts: Parts, tmp_path: Path, ramdisks: int, architecture: Architecture
) -> None:
    parts = replace(parts, ramdisks=parts.ramdisks[:ramdisks], architecture=architecture)
    ours, theirs = tmp_path / "ours.eif", tmp_path / "theirs.eif"
    written = write_eif(parts, ours)
    assert build_with_crate(aws_eif, parts, theirs) == pcrs(written)
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_crate_reads_ours(aws_eif: Run, parts: Parts, tmp_path: Path) -> None:
    ours = tmp_path / "ours.eif"
    written = write_eif(parts, ours)
    described = aws_eif("describe", ours)
    assert described["crc"] is True
    assert described["name"] == 'image ☀ "q"'
    assert described["sections"] == 6
    assert pcrs(written).items() <= described["measurements"].items()


def test_the_crate_accepts_our_signature(aws_eif: Run, parts: Parts, signer: Signer, tmp_path: Path) -> None:
    ours = tmp_path / "ours.eif"
    written = write_eif(parts, ours, signer)
    described = aws_eif("describe", ours)
    assert described["signature"] is True
    assert described["crc"] is True
    assert described["measurements"]["PCR8"] == written[8].hex()


@pytest.mark.parametrize("curve", [SECP256R1(), SECP384R1(), SECP521R1()], ids=lambda curve: str(curve.name))
def test_we_accept_the_crates_signature(aws_eif: Run, parts: Parts, curve: EllipticCurve, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.eif"
    stated = build_with_crate(aws_eif, parts, theirs, *write_signer(make_signer(curve), tmp_path))
    assert pcrs(read_eif(theirs).pcrs) == stated
    assert "PCR8" in stated
