"""measurements.txt: its contents, what it is compared with, and how differences are reported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nitro import measurements
from nitro.dependencies import DEPENDENCIES, carry_over, depth, root_causes
from nitro.errors import BuildError
from nitro.inputs import ROOT, Inputs
from nitro.measure import PCRS, Measured, _pcrs, declared, measure
from nitro.measurements import FILE, RENEW, Committed, compare, document, load, verdict
from tools.eif.writer import Parts
from tools.eif.writer import measure as measure_eif

BUILT = Measured({"gateway": "aa", "kernel": "bb", "image": "sha256:cc", "PCR0": "00", "PCR1": "11", "PCR2": "22"})


def states(committed: dict[str, str], measured: Measured = BUILT, *not_built: str) -> dict[str, str]:
    return dict(compare(Committed(committed, frozenset(not_built)), measured))


def test_the_committed_file_has_every_input_of_this_source() -> None:
    """The inputs that need no build; ``test_the_committed_file_is_what_is_built_here`` builds the rest."""
    committed, measured = load(FILE), Measured(declared())
    built = {*committed.values, *committed.not_built} - measured.values.keys()
    measured.mark_unavailable(built, "not built by this test")
    status, line = verdict(dict(compare(committed, measured)))
    assert status == 0, f"{line}; if the change is wanted: {RENEW}"
    assert set(measured.values) <= set(committed.values)
    assert {*PCRS, "kernel", "nitriding", "wheels", "files", "image"} <= built


@pytest.fixture(scope="module")
def built_here() -> Measured:
    return measure(Inputs())


@pytest.mark.needs("apt-get", "dpkg-deb", "go")
@pytest.mark.slow
def test_the_committed_file_is_what_is_built_here(built_here: Measured) -> None:
    found = dict(compare(load(FILE), built_here))
    status, line = verdict(found)
    assert status == 0, f"{line}; if the change is wanted: {RENEW}"
    inputs = {"wheels", "init", "first ramdisk", "image without nitriding", "ramdisk without nitriding"}
    assert {found[name] for name in inputs} == {"same"}


@pytest.mark.needs("apt-get", "dpkg-deb", "go")
@pytest.mark.slow
@pytest.mark.parametrize("names", [("kernel", "PCR1"), ("nitriding", "files", "image", "PCR2", "PCR0")], ids=" ".join)
def test_what_not_every_machine_builds(built_here: Measured, names: tuple[str, ...]) -> None:
    """Skipped where one side is missing, so that the skips list what was not compared."""
    found = dict(compare(load(FILE), built_here))
    for state, why in (("unknown", "not rebuilt here"), ("unwritten", f"rebuilt here and not in {FILE.name}")):
        if absent := [name for name in names if found[name] == state]:
            pytest.skip(f"{why}: {', '.join(absent)}")
    assert {found[name] for name in names} == {"same"}


def test_what_is_written_is_what_verifiers_read() -> None:
    assert document(BUILT, {}) == {
        "Measurements": {"HashAlgorithm": "SHA384", "PCR0": "00", "PCR1": "11", "PCR2": "22"},
        "recipe": {"gateway": "aa", "kernel": "bb", "image": "sha256:cc"},
    }


def test_all_the_same() -> None:
    assert set(states(BUILT.values).values()) == {"same"}
    assert verdict(states(BUILT.values)) == (0, "measurements hold: PCR0, PCR1, PCR2")


def test_inputs_are_named_before_what_they_move() -> None:
    moved = dict.fromkeys(("gateway", "wheels", "nitriding", "image without nitriding", "image", "PCR0", "PCR2"), "x")
    measured = Measured({**dict.fromkeys(moved, "y"), "kernel": "bb", "PCR1": "11"})
    found = states({"kernel": "bb", "PCR1": "11", **moved}, measured)
    order = ["gateway", "wheels", "image without nitriding", "kernel", "nitriding", "image", "PCR0", "PCR1", "PCR2"]
    assert list(found) == order
    assert verdict(found) == (1, "measurements moved: gateway, wheels, nitriding")


@pytest.mark.parametrize(
    ("moved", "causes"),
    [
        (["gateway", "files without nitriding", "ramdisk without nitriding", "image", "PCR0", "PCR2"], ["gateway"]),
        (["go", "init", "first ramdisk", "nitriding", "PCR0", "PCR1", "PCR2"], ["go"]),
        (["kernel", "PCR0", "PCR1"], ["kernel"]),
        (["files without nitriding", "files"], ["files without nitriding"]),
        (["start.sh", "PCR2"], ["start.sh"]),
        (["PCR0"], ["PCR0"]),
    ],
)
def test_causes_are_named_and_not_their_effects(moved: list[str], causes: list[str]) -> None:
    assert root_causes(moved) == causes


def test_no_value_is_its_own_cause() -> None:
    assert depth("gateway") == 0 < depth("image without nitriding") < depth("image")
    assert depth("PCR1") > depth("first ramdisk") > depth("init") > depth("go")
    assert all(depth(name) > depth(cause) for name, causes in DEPENDENCIES.items() for cause in causes)


def test_what_the_file_says_is_not_in_it_has_not_moved() -> None:
    incomplete = {name: value for name, value in BUILT.values.items() if name not in ("PCR0", "PCR2")}
    found = states(incomplete, BUILT, "PCR0", "PCR2")
    assert verdict(found) == (0, "measurements hold: PCR1; not in the file: PCR0, PCR2")
    assert verdict(states(incomplete, BUILT, "PCR0")) == (1, "measurements moved: PCR2")


BEFORE = {
    "boot": "own",
    "kernel recipe": "k",
    "kernel": "bb",
    "cmdline": "c",
    "go": "g",
    "init source": "s",
    "init": "i",
    "ramdisk layout": "l",
    "first ramdisk": "f",
    "PCR1": "11",
    "nitriding commit": "n",
    "nitriding": "d",
    "ramdisk without nitriding": "r",
    "PCR0": "00",
    "PCR2": "22",
}
NOT_HERE = ("kernel", "PCR1", "nitriding", "PCR2", "PCR0")


def test_what_is_not_built_is_kept_while_all_that_decides_it_is_the_same() -> None:
    here = {name: value for name, value in BEFORE.items() if name not in NOT_HERE}
    assert carry_over(BEFORE, here, NOT_HERE) == {name: BEFORE[name] for name in NOT_HERE}
    assert carry_over({}, here, NOT_HERE) == {}


@pytest.mark.parametrize(
    ("moved", "lost"),
    [
        ("kernel recipe", {"kernel", "PCR1", "PCR0"}),
        ("boot", {"kernel", "PCR1", "PCR0"}),
        ("cmdline", {"PCR1", "PCR0"}),
        ("first ramdisk", {"PCR1", "PCR0"}),
        ("ramdisk without nitriding", {"PCR2", "PCR0"}),
        ("nitriding commit", {"nitriding", "PCR2", "PCR0"}),
        ("go", {"nitriding", "PCR2", "PCR0"}),
    ],
)
@pytest.mark.parametrize("how", ["other", "gone"])
def test_what_moved_takes_its_effects_along(moved: str, lost: set[str], how: str) -> None:
    here = {name: value for name, value in BEFORE.items() if name not in NOT_HERE}
    if how == "other":
        here[moved] = "other"
    else:
        del here[moved]
    assert set(NOT_HERE) - carry_over(BEFORE, here, NOT_HERE).keys() == lost


def test_what_cannot_be_built_here_is_said_and_not_compared() -> None:
    built = Measured({"gateway": "aa", "image": "sha256:cc", "PCR2": "22"})
    built.mark_unavailable(("kernel", "PCR0", "PCR1"), BuildError("not compiled yet"))
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


def test_without_tools_every_input_of_the_source_is_still_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr("nitro.image.wheels.ROOT", tmp_path)
    measured = measure(Inputs(tmp_path, offline=True))
    assert measured.values.items() >= declared().items()
    assert {"wheels", "init", "nitriding", "image", *PCRS} <= measured.unavailable.keys()
    assert "uv is not installed" in measured.unavailable["wheels"]


def test_the_blobs_of_nitro_cli_stand_for_our_kernel_and_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr("nitro.image.wheels.ROOT", tmp_path)
    monkeypatch.setattr("nitro.ramdisks.BUILD", tmp_path / "build")
    for name in ("bzImage", "init", "nsm.ko", "cmdline"):
        (tmp_path / name).write_text(f"{name}\n")
    values = measure(Inputs(tmp_path, offline=True), blobs=tmp_path).values
    assert (values["boot"], values["cmdline"]) == ("nitro-cli-blobs", "cmdline")
    assert {"bzImage", "init", "nsm.ko", "go", "gateway"} <= values.keys()
    assert not {"kernel recipe", "init source"} & values.keys()
    ramdisk = tmp_path / "build" / "bootstrap-nitro-cli-blobs.cpio"
    assert values["PCR1"] == _pcrs(tmp_path / "bzImage", b"cmdline", ramdisk)["PCR1"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"Measurements": {}}', '{"Measurements": [], "recipe": {}}'])
def test_a_file_of_another_shape_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "measurements.txt").write_text(content)
    with pytest.raises(BuildError, match=r"measurements\.txt is not a measurements file with a recipe"):
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
    assert json.loads(file.read_text()) == document(BUILT, {})
    assert run(monkeypatch, BUILT, "--file", file) == 0
    moved = Measured({**BUILT.values, "kernel": "xx", "PCR0": "xx", "PCR1": "xx"})
    assert run(monkeypatch, moved, "--file", file) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "measurements written"
    assert "measurements hold: PCR0, PCR1, PCR2" in printed
    assert "moved     kernel" in printed
    assert printed[-2:] == [f"a wanted change? {RENEW}", "measurements moved: kernel"]


def test_without_docstrings() -> None:
    """PYTHONOPTIMIZE=2 leaves them out."""
    command = [sys.executable, "-OO", "-B", "-m", "nitro.measurements", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Does the source still build" in done.stdout


def test_an_incomplete_file_says_so_and_is_completed_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = Measured({"kernel": "bb", "PCR1": "11"})
    built.mark_unavailable(("PCR0", "PCR2"), BuildError("no daemon"))
    file = tmp_path / "measurements.txt"
    assert run(monkeypatch, built, "--file", file, "--write") == 0
    printed = capsys.readouterr()
    assert printed.out == "measurements written; incomplete, not built: PCR0, PCR2\n"
    assert printed.err == "not built here: PCR0, PCR2: no daemon\n"
    content = json.loads(file.read_text())
    assert content["Measurements"] == {"HashAlgorithm": "SHA384", "PCR1": "11"}
    assert content["not built"] == ["PCR0", "PCR2"]
    assert run(monkeypatch, built, "--file", file) == 0
    assert capsys.readouterr().out.endswith("measurements hold as far as built here; not built: PCR0, PCR2\n")
    everything = Measured({"kernel": "bb", "PCR0": "00", "PCR1": "11", "PCR2": "22"})
    assert run(monkeypatch, everything, "--file", file) == 0
    assert capsys.readouterr().out.endswith("measurements hold: PCR1; not in the file: PCR0, PCR2\n")
    assert run(monkeypatch, everything, "--file", file, "--write") == 0
    assert json.loads(file.read_text()) == document(everything, {})


def test_a_machine_without_the_kernel_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "measurements.txt"
    assert run(monkeypatch, Measured(dict(BEFORE)), "--file", file, "--write") == 0
    elsewhere = Measured({name: value for name, value in BEFORE.items() if name not in NOT_HERE})
    elsewhere.mark_unavailable(NOT_HERE, BuildError("not compiled"))
    elsewhere.values["ramdisk without nitriding"] = "another gateway"
    capsys.readouterr()
    assert run(monkeypatch, elsewhere, "--file", file, "--write") == 0
    assert capsys.readouterr().out == (
        "measurements written; kept, since nothing that decides them moved: kernel, nitriding, PCR1; "
        "incomplete, not built: PCR0, PCR2\n"
    )
    assert load(file).values["PCR1"] == "11"
    assert load(file).not_built == {"PCR0", "PCR2"}


@pytest.mark.parametrize("option", ["--blobs", "--daemon"])
@pytest.mark.parametrize("spelling", [(), ("--file", "measurements.txt")])
def test_a_variant_never_lands_in_measurements_txt(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    spelling: tuple[str, ...],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(measurements, "FILE", tmp_path / "measurements.txt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, BUILT, option, "/dev/null", *spelling, "--write")
    assert "a variant must not be written to measurements.txt" in capsys.readouterr().err
