"""Secrets are compared in constant time."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SECRET_WORDS = ("mac", "secret", "token_hash", "password", "api_key", "hmac")


def comparisons(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with an equality test in which a name suggests that one side is, or derives from, a secret."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare) and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
            names = {_name(side) for side in (node.left, *node.comparators)}
            if any(word in name.split("_") or name == word for name in names for word in SECRET_WORDS):
                yield node.lineno, ast.unparse(node)


def _name(side: ast.expr) -> str:
    match side:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name.lower().strip("_")
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name.lower()
    return ""


@pytest.mark.parametrize("folder", ["gateway", "tools/verify", "tools/inject"])
def test_no_secret_is_compared_with_equality(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in comparisons(path)
    ]
    assert found == []


def test_the_search_finds_what_it_is_for(tmp_path: Path) -> None:
    file = tmp_path / "careless.py"
    file.write_text('if quote["mac"] == self._mac(x): pass\nif given != secret: pass\nif a.tokens == 3: pass\n')
    assert [line for line, _ in comparisons(file)] == [1, 2]
