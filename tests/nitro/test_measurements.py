"""measurements.txt: what it says, what it is compared with, and how a difference is reported."""

import json
import sys
from pathlib import Path

import pytest

from nitro import measurements
from nitro.errors import BuildError
from nitro.measure import Measured, _pcrs
from nitro.measurements import compare, load, verdict
from tools.eif.writer import Parts
from tools.eif.writer import measure as measure_eif

BUILT = Measured({"gateway": "aa", "kernel": "bb", "image": "sha256:cc", "PCR0": "00", "PCR1": "11", "PCR2": "22"})


def states(committed: dict[str, str], measured: Measured = BUILT) -> dict[str, str]:
    return dict(compare(committed, measured))


def test_what_is_written_is_what_verifiers_read() -> None:
    assert BUILT.document() == {
        "Measurements": {"HashAlgorithm": "SHA384", "PCR0": "00", "PCR1": "11", "PCR2": "22"},
        "recipe": {"gateway": "aa", "kernel": "bb", "image": "sha256:cc"},
    }


def test_all_the_same() -> None:
    assert set(states(BUILT.values).values()) == {"same"}
    assert verdict(states(BUILT.values)) == (0, "measurements hold: PCR0, PCR1, PCR2")


def test_inputs_are_named_before_what_they_move() -> None:
    committed = {**BUILT.values, "gateway": "other", "image": "other", "PCR0": "other", "PCR2": "other"}
    assert list(states(committed)) == ["gateway", "kernel", "image", "PCR0", "PCR1", "PCR2"]
    assert verdict(states(committed)) == (1, "measurements moved: gateway, image, PCR0, PCR2")


def test_what_cannot_be_built_here_is_said_and_not_compared() -> None:
    built = Measured({"gateway": "aa", "image": "sha256:cc", "PCR2": "22"})
    built.lacks(("kernel", "PCR0", "PCR1"), BuildError("not compiled yet"))
    found = states(BUILT.values, built)
    assert {name for name, state in found.items() if state == "unknown"} == {"kernel", "PCR0", "PCR1"}
    assert verdict(found) == (0, "measurements hold as far as built here; not built: kernel, PCR0, PCR1")
    assert verdict(states({**BUILT.values, "gateway": "x"}, built))[0] == 1


@pytest.mark.parametrize(("extra", "state"), [("committed", "gone"), ("built", "new")])
def test_an_input_on_one_side_only_counts_as_moved(extra: str, state: str) -> None:
    committed = dict(BUILT.values)
    measured = Measured(dict(BUILT.values))
    (committed if extra == "committed" else measured.values)["wheels"] = "dd"
    assert states(committed, measured)["wheels"] == state
    assert verdict(states(committed, measured)) == (1, "measurements moved: wheels")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"Measurements": {}}', '{"Measurements": [], "recipe": {}}'])
def test_a_file_of_another_shape_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "measurements.txt").write_text(content)
    with pytest.raises(BuildError, match=r"measurements\.txt is not measurements with a recipe"):
        load(tmp_path / "measurements.txt")


def test_the_registers_are_those_of_the_eif(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("kernel", "bootstrap", "application")}
    for name, file in files.items():
        file.write_bytes(name.encode() * 1000)
    whole = measure_eif(Parts(files["kernel"], b"console=ttyS0", (files["bootstrap"], files["application"])))
    alone = _pcrs(files["kernel"], b"console=ttyS0", files["bootstrap"])
    assert alone["PCR1"] == whole[1].hex()
    assert _pcrs(None, b"", None, files["application"])["PCR2"] == whole[2].hex()
    together = _pcrs(files["kernel"], b"console=ttyS0", files["bootstrap"], files["application"])
    assert together == {f"PCR{index}": value.hex() for index, value in whole.items()}


def run(monkeypatch: pytest.MonkeyPatch, built: Measured, *arguments: str | Path) -> int:
    monkeypatch.setattr(measurements, "measure", lambda *_: built)
    monkeypatch.setattr(sys, "argv", ["measurements", *map(str, arguments)])
    return measurements.main()


def test_written_and_then_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "measurements.txt"
    assert run(monkeypatch, BUILT, "--file", file, "--write") == 0
    assert json.loads(file.read_text()) == BUILT.document()
    assert run(monkeypatch, BUILT, "--file", file) == 0
    moved = Measured({**BUILT.values, "kernel": "xx", "PCR0": "xx", "PCR1": "xx"})
    assert run(monkeypatch, moved, "--file", file) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "measurements written, 0 values missing"
    assert "measurements hold: PCR0, PCR1, PCR2" in printed
    assert "moved   kernel" in printed
    assert printed[-1] == "measurements moved: kernel, PCR0, PCR1"


def test_an_incomplete_file_is_written_but_not_called_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = Measured({"kernel": "bb", "PCR1": "11"})
    built.lacks(("PCR0", "PCR2"), BuildError("no daemon"))
    file = tmp_path / "measurements.txt"
    assert run(monkeypatch, built, "--file", file, "--write") == 1
    assert json.loads(file.read_text())["Measurements"] == {"HashAlgorithm": "SHA384", "PCR1": "11"}
    assert "not built here: PCR0, PCR2: no daemon" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--blobs", "--daemon"])
def test_a_variant_never_lands_in_measurements_txt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, BUILT, option, tmp_path, "--write")
    assert "a variant is kept apart from measurements.txt" in capsys.readouterr().err
