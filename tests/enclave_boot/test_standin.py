"""The stand-in for nitriding: its own Go tests, and the static checks that the image's init passes."""

import subprocess
from pathlib import Path

import pytest

STANDIN = Path(__file__).parent / "standin"
pytestmark = [pytest.mark.slow, pytest.mark.needs("go")]


@pytest.mark.parametrize(
    "command", [("go", "vet", "./..."), ("go", "test", "-count=1", "./..."), ("gofmt", "-l", ".")], ids=" ".join
)
def test_standin(command: tuple[str, ...]) -> None:
    done = subprocess.run(command, cwd=STANDIN, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert command[0] != "gofmt" or not done.stdout
