"""A test that needs a program is skipped, visibly, where it is missing, and fails in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("ci", "status", "told"), [("", 0, "SKIPPED [1]"), ("true", 1, "Failed: needs git")])
def test_a_program_that_is_missing(tmp_path: Path, ci: str, status: int, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/nitro/test_checkout.py"],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path), "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert told in done.stdout
    assert "needs git" in done.stdout
