"""The image's Go programs: init with its own tests and built reproducibly, the others from their pinned commit."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from nitro import golang
from nitro.errors import BuildError
from nitro.image import daemon
from nitro.inputs import ROOT, Inputs

pytestmark = [pytest.mark.slow, pytest.mark.needs("go")]

INIT = ROOT / "nitro" / "init"


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_init_s_own_tests() -> None:
    for command in (["vet", "./..."], ["test", "-count=1", "./..."]):
        done = subprocess.run(["go", *command], cwd=INIT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    formatted = subprocess.run(["gofmt", "-l", "."], cwd=INIT, capture_output=True, text=True, check=True)
    assert formatted.stdout == ""


def test_init_is_the_same_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = golang.build(INIT, tmp_path / "first", Inputs(tmp_path / "inputs"))
    shutil.copytree(INIT, tmp_path / "elsewhere" / "copy")
    for name, value in {"GOFLAGS": "-race", "GOAMD64": "v3", "CGO_ENABLED": "1", "TZ": "Asia/Tokyo"}.items():
        monkeypatch.setenv(name, value)
    umask = os.umask(0o077)
    try:
        second = golang.build(tmp_path / "elsewhere" / "copy", tmp_path / "second", Inputs(tmp_path / "other"))
    finally:
        os.umask(umask)
    assert sha256(first) == sha256(second)
    content = first.read_bytes()
    assert str(INIT).encode() not in content
    assert golang.TOOLCHAIN in golang.build_info(first, Inputs(tmp_path / "inputs"))


PUBLISHED, PSEUDO_VERSION, COMMIT = "example.org/hello", "v0.0.0-20250102030405-0123456789ab", "0123456789ab" + "c" * 28


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module proxy in a folder, with one untagged program, requested by commit."""
    versions = tmp_path / "proxy" / PUBLISHED / "@v"
    versions.mkdir(parents=True)
    information = json.dumps({"Version": PSEUDO_VERSION, "Time": "2025-01-02T03:04:05Z"})
    for name in (COMMIT, PSEUDO_VERSION):
        (versions / f"{name}.info").write_text(information)
    (versions / f"{PSEUDO_VERSION}.mod").write_text(f"module {PUBLISHED}\n")
    with zipfile.ZipFile(versions / f"{PSEUDO_VERSION}.zip", "w") as archive:
        for name, content in {"go.mod": f"module {PUBLISHED}\n", "main.go": "package main\n\nfunc main() {}\n"}.items():
            archive.writestr(f"{PUBLISHED}@{PSEUDO_VERSION}/{name}", content)
    monkeypatch.setenv("GOPROXY", f"file://{tmp_path}/proxy")
    monkeypatch.setenv("GONOSUMDB", "example.org/*")


@pytest.fixture
def inputs_folders(tmp_path: Path) -> tuple[Inputs, Inputs]:
    return Inputs(tmp_path / "here"), Inputs(tmp_path / "there")


@pytest.mark.usefixtures("published")
def test_a_commit_is_the_same_program_twice_and_offline(tmp_path: Path, inputs_folders: tuple[Inputs, Inputs]) -> None:
    here, there = inputs_folders
    programs = [
        golang.install(PUBLISHED, COMMIT, tmp_path / "a", here),
        golang.install(PUBLISHED, COMMIT, tmp_path / "b", there),
        golang.install(PUBLISHED, COMMIT, tmp_path / "c", replace(here, offline=True)),
    ]
    assert len({sha256(program) for program in programs}) == 1
    origin = golang.build_info(programs[0], here)
    assert f"{PUBLISHED}\t{PSEUDO_VERSION}\th1:" in origin
    assert "DefaultGODEBUG" not in origin, "an older Go's defaults, old TLS among them"
    folders = [folder for folder, _, _ in os.walk(tmp_path)]
    assert any(PUBLISHED in folder for folder in folders)
    assert all(Path(folder).stat().st_mode & 0o200 for folder in folders), "make clean cannot remove read-only folders"


@pytest.mark.usefixtures("published")
def test_nitriding_has_to_be_built_from_its_commit(
    inputs_folders: tuple[Inputs, Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "MODULE", PUBLISHED)
    with pytest.raises(BuildError, match=f"not built from {daemon.COMMIT[:12]}|{daemon.COMMIT}"):
        daemon.build(inputs_folders[0])
    monkeypatch.setattr(daemon, "COMMIT", COMMIT)
    assert daemon.build(inputs_folders[0]).startswith(b"\x7fELF")


def test_a_module_that_is_not_to_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"go build .*example\.invalid/nothing"):
        golang.install("example.invalid/nothing", "v1.0.0", tmp_path, Inputs(tmp_path, offline=True))
