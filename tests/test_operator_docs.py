"""Operators' documentation: every command, option, target, file and variable named there exists."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tools.inject.env_file import FIELDS

ROOT = Path(__file__).parent.parent
PAGES = ("operators.md", "reproduce.md", "threat-model.md", "monitoring.md")
OURS = re.compile(r"python -m ((?:tools|nitro)[\w.]*)(.*)")


def text(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def commands() -> Iterator[tuple[str, str, str]]:
    """Page, module and arguments of each of our commands, in code blocks and in running text."""
    for page in PAGES:
        for line in re.findall(r"python -m [^`\n|]+", text(page).replace("\\\n", " ")):
            if match := OURS.match(line):
                yield page, match[1], match[2]


@cache
def help_of(module: str, subcommand: str) -> str:
    words = [sys.executable, "-m", module, *([subcommand] if subcommand else []), "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{module} {subcommand}: {done.stderr}"
    return done.stdout


def test_commands_and_their_options_exist() -> None:
    seen = 0
    for page, module, rest in commands():
        words = shlex.split(rest, comments=True)
        if "--help" in words or not words:
            continue
        subcommand = words[0] if re.fullmatch(r"[a-z]+", words[0]) else ""
        told = help_of(module, subcommand)
        for word in words:
            if word.startswith("--"):
                assert re.search(rf"{word}\b", told), f"{page}: {module} {subcommand} has no {word}"
                seen += 1
    assert seen > 20


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w./ -]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    known = {name for line in targets for name in line.split()}
    pattern = re.compile(r"(?:^\s*|`|&& )make ([\w./-]+)", re.MULTILINE)
    named = {name for page in PAGES for name in pattern.findall(text(page))}
    assert len(named) > 5
    assert named - known == set()


@pytest.mark.parametrize("page", PAGES)
def test_files_exist(page: str) -> None:
    linked = re.findall(r"\]\(([^)#]+?)(?:#[\w-]+)?\)", text(page))
    named = re.findall(r"`((?:gateway|nitro|tools|docs)/[\w./-]*)`", text(page))
    missing = [name for name in linked if not (ROOT / "docs" / name).exists()]
    missing += [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_variables_of_the_environment_file_are_understood() -> None:
    block = text("operators.md").partition("## 4.")[2].partition("## 5.")[0]
    names = re.findall(r"^([A-Z_]+)=", block, re.MULTILINE)
    assert len(names) > 10
    assert set(names) <= set(FIELDS)


def test_exit_statuses_are_the_launchers() -> None:
    usage = (ROOT / "nitro" / "run-enclave.sh").read_text(encoding="utf-8")
    for status in re.findall(r"^\| ([\d, ]+) \|", text("operators.md"), re.MULTILINE):
        for number in status.split(", "):
            assert re.search(rf"\b{number} ", usage.partition("Exit status:")[2][:300])


def test_pinned_commit_is_the_one_that_is_built() -> None:
    from nitro.image.daemon import COMMIT

    assert COMMIT in text("reproduce.md")
