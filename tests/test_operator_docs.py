"""docs/operators.md and docs/reproduce.md: what they quote is what the code has."""

import re
from pathlib import Path

from nitro.image.daemon import COMMIT
from tools.inject.env_file import FIELDS

ROOT = Path(__file__).parent.parent


def text(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_variables_of_the_environment_file_are_understood() -> None:
    block = text("operators.md").partition("## 4.")[2].partition("## 5.")[0]
    names = re.findall(r"^([A-Z_]+)=", block, re.MULTILINE)
    assert len(names) > 10
    assert set(names) <= set(FIELDS)


def test_exit_statuses_are_the_launchers() -> None:
    usage = (ROOT / "nitro" / "run-enclave.sh").read_text(encoding="utf-8").partition("Exit status:")[2]
    listed = re.findall(r"^\| ([2-9, ]+) \|", text("operators.md"), re.MULTILINE)
    assert re.findall(r"\d", ", ".join(listed)) == re.findall(r"\b([2-9]) ", usage.partition("TEXT")[0])


def test_pinned_commit_is_the_one_that_is_built() -> None:
    assert COMMIT in text("reproduce.md")
