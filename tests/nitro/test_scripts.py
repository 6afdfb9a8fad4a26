"""Every shell script of the repository passes shellcheck."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

NITRO = Path(__file__).parents[2] / "nitro"


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize("script", sorted(NITRO.rglob("*.sh")), ids=lambda script: str(script.relative_to(NITRO)))
def test_shellcheck(script: Path, need: Callable[..., None]) -> None:
    need("shellcheck")
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
