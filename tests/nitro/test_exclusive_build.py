"""Two builds at a time do not write the same ramdisks: each would measure and pack what the other has half written."""

import fcntl
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from nitro import eif
from nitro.errors import BuildError
from nitro.inputs import Inputs, exclusive_build
from nitro.measure import measure


@pytest.fixture(autouse=True)
def build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("nitro.inputs.BUILD", tmp_path)
    return tmp_path


def is_locked(folder: Path) -> bool:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_one_at_a_time_also_after_an_error(build_folder: Path) -> None:
    for _ in range(2):
        with suppress(BuildError), exclusive_build():
            assert is_locked(build_folder)
            raise BuildError("as any build may")
        assert not is_locked(build_folder)


@pytest.mark.parametrize("first_step", ["nitro.measure.rootfs.gateway", "nitro.eif.boot.own"])
def test_builders_of_ramdisks_hold_the_folder(
    build_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], first_step: str
) -> None:
    def stop() -> NoReturn:
        raise BuildError("locked" if is_locked(build_folder) else "not locked")

    monkeypatch.setattr(first_step, lambda *_: stop())
    if first_step.startswith("nitro.measure"):
        with pytest.raises(BuildError, match=r"^locked"):
            measure(Inputs(build_folder, offline=True))
    else:
        monkeypatch.setattr(sys, "argv", ["eif"])
        assert eif.main() == 1
        assert capsys.readouterr().err == "eif: locked\n"
