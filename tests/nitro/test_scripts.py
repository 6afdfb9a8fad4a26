"""Every shell script of the repository passes shellcheck."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*(ROOT / ".ci").iterdir(), *(ROOT / "nitro").rglob("*.sh"), *(ROOT / "tests").rglob("*.sh")]


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize("script", sorted(SCRIPTS), ids=lambda script: str(script.relative_to(ROOT)))
def test_shellcheck(script: Path) -> None:
    done = subprocess.run(
        ["shellcheck", "--external-sources", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
