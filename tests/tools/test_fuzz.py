"""The fuzzer: every target passes a short run, and a planted mistake is found, written down and replayed."""

import json
from pathlib import Path
from random import Random

import pytest

from gateway.upstreams import sse
from tools.fuzz import __main__ as fuzz
from tools.fuzz.disorder import mangled_bytes, mangled_json, pieces
from tools.fuzz.event_streams import reference


@pytest.fixture(autouse=True)
def findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fuzz, "_FINDINGS", tmp_path)
    return tmp_path


@pytest.mark.parametrize("target", fuzz.TARGETS)
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


def test_the_same_seed_makes_the_same_inputs() -> None:
    for target in fuzz.TARGETS.values():
        first, second = (repr(target.make(Random("1/x/7"))) for _ in range(2))
        assert first == second


def test_mangling_changes_something_and_spares_the_original() -> None:
    value = {"a": [1, {"b": "c"}], "d": None}
    before = json.dumps(value)
    changed = [mangled_json(Random(seed), value) for seed in range(50)]
    assert json.dumps(value) == before
    assert sum(other != value for other in changed) > 40
    assert len({mangled_bytes(Random(seed), b"data: abc\n\n") for seed in range(50)}) > 20


def test_pieces_are_the_whole() -> None:
    for seed in range(50):
        assert b"".join(pieces(Random(seed), b"data: abc\n\n")) == b"data: abc\n\n"


def test_the_reference_reads_the_plain_cases() -> None:
    assert reference(b"event: x\ndata: a\r\ndata:b\n\n: c\n\ndata: d") == [sse.Event("x", b"a\nb"), sse.Event("", b"d")]
    assert reference(b'\xef\xbb\xbf{"a":\n1}\n') == [sse.Event("", b'{"a":\n1}', bare=True)]
