"""The page on translation names every file of the vendors' packages, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "translation.md").read_text(encoding="utf-8")


def test_files_of_the_adapters() -> None:
    head, _, *rows = re.findall(r"^\|(.*)\|$", PAGE.partition("## In the code")[2], re.MULTILINE)
    for column, title in enumerate(head.split("|")[1:], 1):
        package = ROOT / "gateway" / "upstreams" / re.findall(r"`(\w+)/`", title)[0]
        named = {name for row in rows for name in re.findall(r"`(\w+\.py)`", row.split("|")[column])}
        assert named == {path.name for path in package.glob("*.py")} - {"__init__.py"}
