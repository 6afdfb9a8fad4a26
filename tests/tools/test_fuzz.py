"""The fuzzer: every target passes a short run, and a planted fault is found, saved and replayed."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from gateway.upstreams import sse
from tools.fuzz import __main__ as fuzz
from tools.fuzz.event_streams import reference
from tools.fuzz.mutations import mutate_bytes, mutate_json, split
from tools.fuzz.recordings import Recording
from tools.fuzz.target import Target
from tools.fuzz.targets import TARGETS
from tools.fuzz.vendors import VENDOR_ANSWERS, Reply

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fuzz, "_FINDINGS", tmp_path)
    return tmp_path


@pytest.mark.parametrize("target", TARGETS)
def test_a_short_run_finds_nothing(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--seconds", "0", "--seed", "20261122", "--target", target]) == 0
    assert capsys.readouterr().out.startswith("seed 20261122\n")


def test_a_planted_mistake_is_found_and_found_again(
    findings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--seconds", "0", "--seed", "1", "--target", "event-streams"]
    with monkeypatch.context() as planted:
        planted.setattr(sse.SSEReader, "close", lambda reader: [])
        assert fuzz.main(arguments) == 1
        [path] = findings.iterdir()
        assert f"--replay {path}" in capsys.readouterr().out
        assert fuzz.main(["--replay", str(path)]) == 1
    finding = json.loads(path.read_text(encoding="utf-8"))
    assert (finding["target"], finding["seed"]) == ("event-streams", 1)
    assert "BrokenPropertyError" in finding["problem"]
    assert fuzz.main(["--replay", str(path)]) == 0


def test_a_region_that_a_vendor_does_not_serve_is_no_finding() -> None:
    body = b'{"error": {"message": "Country not supported", "code": "unsupported_country_region_territory"}}'
    reply = Reply(Recording("openai", 403, False, body), [body], False, {})
    VENDOR_ANSWERS.check(reply)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"\xff", "not a finding"), (b"[]", "not a finding"), (b"{}", "not a finding")],
)
def test_what_is_no_finding_is_not_replayed(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "finding.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit, match="2"):
        fuzz.main(["--replay", str(path)])
    assert said in capsys.readouterr().err


PANIC = """
import os, sys
from pathlib import Path
from tools.fuzz import __main__ as fuzz
from tools.fuzz.target import Target
fuzz._FINDINGS = Path(sys.argv[1])
fuzz.TARGETS = {"panic": Target("panic", lambda random: random.randrange(100), lambda case: case == 7 and os.abort())}
sys.exit(fuzz.main(sys.argv[2:]))
"""


def test_the_input_that_kills_the_interpreter_is_known(findings: Path) -> None:
    def fuzzed(*arguments: str) -> int:
        command = [sys.executable, "-c", PANIC, str(findings), *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode

    assert fuzzed("--seconds", "60", "--seed", "5") == -signal.SIGABRT
    [path] = findings.iterdir()
    noted = json.loads(path.read_text(encoding="utf-8"))
    assert Random(f"5/panic/{noted['number']}").randrange(100) == 7
    assert fuzzed("--replay", str(path)) == -signal.SIGABRT


def test_what_is_no_exception_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panics of Rust code pass every ``except Exception``."""

    def panic(case: int) -> None:
        raise SystemExit(case)

    monkeypatch.setattr(fuzz, "TARGETS", {"panic": Target("panic", lambda random: 0, panic)})
    assert fuzz.main(["--seconds", "0", "--seed", "1"]) == 1


def test_slow_targets_get_no_more_time_than_fast_ones(
    findings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr(fuzz, "monotonic", lambda: float(next(ticks)))
    slow = Target("slow", lambda random: [next(ticks) for _ in range(9)], lambda case: None)
    fast = Target("fast", lambda random: 0, lambda case: None)
    monkeypatch.setattr(fuzz, "TARGETS", {"slow": slow, "fast": fast})
    assert fuzz.main(["--seconds", "3000", "--seed", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    inputs = {words[0]: int(words[1].replace(",", "")) for words in lines if words[0] in ("slow", "fast")}
    assert inputs["fast"] > 20 * inputs["slow"] > 0
    assert not list(findings.iterdir())


def test_the_same_seed_makes_the_same_inputs() -> None:
    for target in TARGETS.values():
        first, second = (repr(target.make(Random("1/x/7"))) for _ in range(2))
        assert first == second


def test_mangling_changes_something_and_spares_the_original() -> None:
    value = {"a": [1, {"b": "c"}], "d": None}
    before = json.dumps(value)
    changed = [mutate_json(Random(seed), value) for seed in range(50)]
    assert json.dumps(value) == before
    assert sum(other != value for other in changed) > 40
    assert len({mutate_bytes(Random(seed), b"data: abc\n\n") for seed in range(50)}) > 20


def test_pieces_are_the_whole() -> None:
    for seed in range(50):
        assert b"".join(split(Random(seed), b"data: abc\n\n")) == b"data: abc\n\n"


def test_the_reference_reads_the_plain_cases() -> None:
    assert reference(b"event: x\ndata: a\r\ndata:b\n\n: c\n\ndata: d") == [sse.Event("x", b"a\nb"), sse.Event("", b"d")]
    assert reference(b'\xef\xbb\xbf{"a":\n1}\n') == [sse.Event("", b'{"a":\n1}', bare=True)]
