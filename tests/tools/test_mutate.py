"""The mutation runner: every operator produces its mutants, non-behavioural code is skipped, and names are unique."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tools.mutate import __main__ as mutate
from tools.mutate.__main__ import Score, main
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


@pytest.mark.parametrize("words", [["gateway.nothing"], ["--processes", "0"]], ids=" ".join)
def test_what_cannot_be_run_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("killed", "status", "last"),
    [
        ((9, 90), 0, "99 of 110 mutants killed, 90.0 %; every module at 90 % or above"),
        ((8, 100), 1, "108 of 110 mutants killed, 98.2 %; below 90 %: gateway.signing 80.0 %"),
        ((8, 89), 1, "97 of 110 mutants killed, 88.2 %; below 90 %: gateway.signing 80.0 %, gateway.envelope 89.0 %"),
    ],
)
def test_every_module_has_to_reach_the_floor(
    killed: tuple[int, int],
    status: int,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = {"gateway.signing": (killed[0], 10), "gateway.envelope": (killed[1], 100)}
    monkeypatch.setattr(mutate, "mutate", lambda module, processes: Score(module, *scores[module]))
    assert main(list(scores)) == status
    assert capsys.readouterr().out.strip().startswith(last)


PROJECT = {
    "small.py": "def sign(number: int) -> int:\n    return -1 if number < 0 else 1\n",
    "test_small.py": "from small import sign\n\ndef test_sign():\n    assert (sign(-5), sign(5)) == (-1, 1)\n",
}
RUN = """
import sys
from pathlib import Path
from tools.mutate import __main__ as mutate
mutate.ROOT, mutate.TARGETS = Path(sys.argv[1]), {"small": ["test_small.py"]}
mutate.EQUIVALENT = {"small": eval(sys.argv[2])}
sys.exit(mutate.main(["--floor", sys.argv[3]]))
"""


@pytest.mark.parametrize(
    ("equivalent", "floor", "status", "told"),
    [
        ({}, "60", 0, ["small: 3 of 5 killed, 60.0 %", "survived small.py:2 sign: number < 0 → number <= 0"]),
        ({"sign: 0 → 1": "x"}, "70", 1, ["small: 3 of 5 killed, 60.0 %", "equivalent small.py:2 sign: x"]),
        ({"sign: 1 → 2": "x"}, "60", 1, ["small: called equivalent, but the tests notice it: sign: 1 → 2"]),
        ({"sign: 7 → 8": "x"}, "60", 1, ["small: no such mutant is left: sign: 7 → 8"]),
    ],
)
def test_a_small_module(tmp_path: Path, equivalent: dict[str, str], floor: str, status: int, told: list[str]) -> None:
    for name, text in PROJECT.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", RUN, str(tmp_path), repr(equivalent), floor]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    for line in told:
        assert line in done.stdout


def test_tests_that_fail_anyway_can_tell_nothing(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text("def sign(number: int) -> int:\n    return 0\n", encoding="utf-8")
    (tmp_path / "test_small.py").write_text(PROJECT["test_small.py"], encoding="utf-8")
    command = [sys.executable, "-c", RUN, str(tmp_path), "{}", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (1, "small: the tests fail on the unchanged module")
