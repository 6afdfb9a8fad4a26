"""The ``python -m tools.eif`` command line."""

import hashlib
import json
from pathlib import Path

import pytest

from tools.eif.__main__ import main
from tools.eif.writer import Parts, measure


def part_options(parts: Parts) -> list[str]:
    ramdisks = [option for ramdisk in parts.ramdisks for option in ("--ramdisk", str(ramdisk))]
    return ["--kernel", str(parts.kernel), "--cmdline", parts.cmdline.decode(), *ramdisks]


def pcr_lines(parts: Parts) -> list[str]:
    return [f"PCR{index} {value.hex()}" for index, value in measure(parts).items()]


def test_build_pcrs_show(parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "out.eif"
    assert main(["build", *part_options(parts), "--output", str(image), "--name", "n"]) == 0
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    assert capsys.readouterr().out.splitlines() == [*pcr_lines(parts), f"sha256 {digest}"]

    assert main(["pcrs", str(image)]) == 0
    assert capsys.readouterr().out.splitlines() == pcr_lines(parts)
    assert main(["pcrs", *part_options(parts)]) == 0
    assert capsys.readouterr().out.splitlines() == pcr_lines(parts)

    assert main(["pcrs", "--json", str(image)]) == 0
    registers = {f"PCR{index}": value.hex() for index, value in measure(parts).items()}
    assert json.loads(capsys.readouterr().out) == {"Measurements": {"HashAlgorithm": "SHA384", **registers}}

    assert main(["show", str(image)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["CommandLine"] == "console=ttyS0"
    assert shown["Metadata"]["ImageName"] == "n"
    assert [section["Type"] for section in shown["Sections"]][:3] == ["kernel", "cmdline", "metadata"]
    assert shown["Measurements"]["PCR0"] == registers["PCR0"]


def test_a_command_line_file_is_taken_without_outer_white_space(
    parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cmdline"
    file.write_bytes(parts.cmdline + b"\n")
    options = part_options(parts)
    options[2:4] = ["--cmdline-file", str(file)]
    assert main(["pcrs", *options]) == 0
    assert capsys.readouterr().out.splitlines() == pcr_lines(parts)


def test_signing(
    parts: Parts, signer_files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, key = map(str, signer_files)
    signing = ["--certificate", certificate, "--private-key", key]
    image = str(tmp_path / "out.eif")
    assert main(["build", *part_options(parts), "--output", image, *signing]) == 0
    built = capsys.readouterr().out.splitlines()
    assert built[3].startswith("PCR8 ")
    assert main(["pcrs", *part_options(parts), "--certificate", certificate]) == 0
    assert capsys.readouterr().out.splitlines() == built[:4]
    assert main(["build", *part_options(parts), "--output", image, *signing[:2]]) == 2
    assert main(["build", *part_options(parts), "--output", image, *signing[:3], certificate]) == 2


def test_a_broken_image_exits_1_with_one_line(parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(parts.kernel)]) == 1
    assert capsys.readouterr().err == "python -m tools.eif show: not an EIF: the magic bytes are missing\n"
    assert main(["pcrs", str(tmp_path / "missing")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_wrong_use_exits_2(parts: Parts) -> None:
    assert main(["pcrs"]) == 2
    assert main(["pcrs", str(parts.kernel), *part_options(parts)]) == 2
    assert main(["pcrs", *part_options(parts)[:2]]) == 2
    assert main(["pcrs", *part_options(parts)[:2], "--cmdline", "\udcff", "--ramdisk", str(parts.kernel)]) == 2
    with pytest.raises(SystemExit) as caught:
        main(["build", "--output", "x"])
    assert caught.value.code == 2
