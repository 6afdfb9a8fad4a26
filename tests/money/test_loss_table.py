"""The table of docs/payments.md names all 27 rows of facts/x402.md 4, and tests that exist."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "payments.md"


def rows() -> dict[int, list[str]]:
    """The tests by row."""
    table = PAGE.read_text(encoding="utf-8").partition("<!-- losses: begin -->")[2].partition("<!-- losses: end -->")[0]
    found = {}
    for line in table.splitlines():
        if match := re.match(r"\| (\d+) \|", line):
            found[int(match[1])] = re.findall(r"`([\w/]+\.py::\w+)`", line)
    return found


def test_every_row_has_its_tests() -> None:
    assert list(rows()) == list(range(1, 28))


@pytest.mark.parametrize("row", rows())
def test_the_tests_exist(row: int) -> None:
    named = rows()[row]
    assert named
    for name in named:
        path, _, function = name.partition("::")
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert function in defined, name
