"""Documentation: every link, file, command, option, target and setting that it names exists, and generated pages are up
to date."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gateway.catalog import Catalog
from gateway.settings import Settings
from tools.lifecycle import page as lifecycle_page

ROOT = Path(__file__).parent.parent
PAGES = [
    *(Path("README.md"), Path("nitro/monitoring/README.md")),
    *(path.relative_to(ROOT) for path in sorted((ROOT / "docs").glob("*.md"))),
]
OURS = re.compile(r"python -m ((?:tools|nitro)[\w.]*)(.*)")


@cache
def text(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def anchors(page: Path) -> set[str]:
    """The fragments that lead to headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text(page), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_and_files_exist(page: Path) -> None:
    named = re.findall(r"`((?:gateway|nitro|tools|docs|tests)/[\w./-]*)`", text(page))
    missing = [name for name in named if not (ROOT / name).exists()]
    for target, fragment in re.findall(r"\]\((?!https:)([^)#]*)#?([^)]*)\)", text(page)):
        path = (ROOT / page.parent / target).resolve() if target else ROOT / page
        if not path.exists() or (fragment and fragment not in anchors(path.relative_to(ROOT))):
            missing.append(f"{target}#{fragment}")
    assert missing == []


def commands() -> Iterator[tuple[Path, str, str]]:
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
    assert len(named) > 10
    assert named - known == set()


def test_settings_are_those_that_are_read(catalog: Catalog) -> None:
    class Environment(dict[str, str]):
        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            read.add(name)
            return default

    read: set[str] = set()
    Settings.from_environment(Environment(), catalog.providers, enclave=False)
    table = text(Path("docs/settings.md")).partition("\n| --- ")[2].partition("\n\n")[0]
    first_cells = re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(first_cells))) == sorted(read)


def test_the_design_names_every_module() -> None:
    table = text(Path("docs/design.md")).partition("Modules directly in `gateway/`")[2].partition("\n## ")[0]
    modules = {path.stem for path in (ROOT / "gateway").glob("*.py")} - {"__init__"}
    assert set(re.findall(r"`(\w+)`", table)) == modules


def test_lifecycle_page() -> None:
    assert text(Path("docs/lifecycle.md")) == lifecycle_page()
