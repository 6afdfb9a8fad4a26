"""The mutator: every operator makes its mutants, what is no behaviour is left alone, and names stay apart."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tools.mutate.__main__ import main
from tools.mutate.operators import mutants
from tools.mutate.targets import EQUIVALENT, TARGETS

ROOT = Path(__file__).parent.parent.parent


def changes(source: str) -> set[str]:
    return {f"{mutant.before} → {mutant.after}" for mutant in mutants(source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x == y", {"x == y → x != y", "x == y → pass"}),
        ("a < b <= c", {"a < b <= c → a <= b <= c", "a < b <= c → a < b < c", "a < b <= c → pass"}),
        (
            "x in y or z is None",
            {
                "x in y or z is None → x in y and z is None",
                "x in y → x not in y",
                "z is None → z is not None",
                "x in y or z is None → pass",
            },
        ),
        (
            "f(1, k=not a)",
            {"f(1, k=not a) → f(1)", "f(1, k=not a) → f(k=not a)", "1 → 2", "not a → a", "f(1, k=not a) → pass"},
        ),
        ("x += 1", {"x += 1 → pass", "x += 1 → x -= 1", "1 → 2"}),
        ("x = a | b", {"x = a | b → pass", "a | b → a & b"}),
        ("def f() -> int:\n    return 'a'", {"return 'a' → return None", "'a' → 'XXa'"}),
        ("def f() -> None:\n    return None", set()),
        ("if x:\n    raise E", {"if x: raise E → if not x: raise E", "raise E → pass"}),
        ("while True:\n    break", {"while True: break → while not True: break", "True → False", "break → continue"}),
        (
            "y = a if b else b'c'",
            {"y = a if b else b'c' → pass", "a if b else b'c' → a if not b else b'c'", "b'c' → b'XXc'"},
        ),
        ('"""Docstring."""\nimport os\nx: int = 1', {"1 → 2"}),
        ("class A:\n    __slots__ = ('a',)\n    def f(self, x: int = 3) -> str: ...", {"3 → 4"}),
        ("f'{x} is {y + 1} wide'", {"y + 1 → y - 1", "1 → 2", "f'{x} is {y + 1} wide' → pass"}),
    ],
)
def test_operators(source: str, expected: set[str]) -> None:
    assert changes(source) == expected


def test_a_mutant_is_one_change_of_the_module() -> None:
    source = "def f(a: int) -> int:\n    return a + 1\n"
    made = {ast.unparse(mutant.tree()): (mutant.function, mutant.line) for mutant in mutants(source)}
    assert made == {
        "def f(a: int) -> int:\n    return None": ("f", 2),
        "def f(a: int) -> int:\n    return a - 1": ("f", 2),
        "def f(a: int) -> int:\n    return a + 2": ("f", 2),
    }


@pytest.mark.parametrize("module", TARGETS)
def test_excused_mutants_exist_once(module: str) -> None:
    source = (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    names = Counter(mutant.name for mutant in mutants(source))
    for name, reason in EQUIVALENT.get(module, {}).items():
        assert names[name] == 1, name
        assert reason.strip()
    assert all((ROOT / test).is_file() for test in TARGETS[module])


def test_an_unknown_module_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["gateway.nothing"])
    assert caught.value.code == 2
