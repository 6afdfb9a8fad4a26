"""Which uv the Makefile takes."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.needs("make")
@pytest.mark.parametrize(
    ("status", "taken"),
    [pytest.param(0, "uv", id="in a folder with a space"), pytest.param(127, ".uv/bin/uv", id="a shim of nothing")],
)
def test_a_uv_that_is_installed_is_taken_if_it_runs(tmp_path: Path, status: int, taken: str) -> None:
    folder = tmp_path / "my tools"
    folder.mkdir()
    (folder / "uv").write_text(f"#!/bin/sh\nexit {status}\n")
    (folder / "uv").chmod(0o755)
    done = subprocess.run(
        ["make", "--dry-run", "--what-if=uv.lock", ".venv/synced"],
        cwd=ROOT,
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{taken} sync --quiet --frozen" in done.stdout.splitlines()
