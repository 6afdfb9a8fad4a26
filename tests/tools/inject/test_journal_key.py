"""``python -m tools.inject.journal_key``: generates a key once and never prints it."""

import base64
import os
from pathlib import Path

import pytest

from gateway.keyring import journal_key
from tools.inject.env_file import injection, read_variables
from tools.inject.journal_key import main


@pytest.mark.parametrize(
    "content",
    [
        "OPENAI_API_KEY=sk\n",
        "OPENAI_API_KEY=sk",
        "",
        "JOURNAL_KEY=\nOPENAI_API_KEY=sk\n",
        "# JOURNAL_KEY=1",
        "export A='b'",
    ],
)
def test_a_key_is_added_where_there_is_none(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / ".env"
    file.write_text(content)
    file.chmod(0o600)
    assert main([str(file)]) == 0
    key = read_variables(file)["JOURNAL_KEY"]
    assert len(journal_key(key)) == 32
    assert file.read_text() == content + ("\n" if content and content[-1] != "\n" else "") + f"JOURNAL_KEY={key}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    printed = capsys.readouterr()
    assert printed.out == f"JOURNAL_KEY was generated and added to {file}: keep it for later enclaves\n"
    assert key not in printed.out + printed.err
    assert main([str(file)]) == 0
    assert read_variables(file)["JOURNAL_KEY"] == key
    assert capsys.readouterr().out == ""


def test_two_keys_are_not_the_same(tmp_path: Path) -> None:
    keys = set()
    for name in ("a", "b"):
        (tmp_path / name).touch()
        main([str(tmp_path / name)])
        keys.add(read_variables(tmp_path / name)["JOURNAL_KEY"])
    assert len(keys) == 2


@pytest.mark.parametrize("key", ["5a" * 32, base64.b64encode(b"k" * 32).decode(), f'"{"5A" * 32}"'])
def test_a_key_that_is_there_stays(tmp_path: Path, key: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"JOURNAL_KEY={key}\nOPENAI_API_KEY=sk\n")
    before = file.read_bytes()
    assert main([str(file)]) == 0
    assert file.read_bytes() == before
    assert injection(read_variables(file))[0]["journal_key"] == key.strip('"')


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("JOURNAL_KEY=5a5a\n", "JOURNAL_KEY in .env is not 32 bytes in hex or base64"),
        ("JOURNAL_KEY=secret-" + "x" * 57, "JOURNAL_KEY in .env is not 32 bytes in hex or base64"),
        ("no assignment", "line 1 of the environment file is not NAME=value"),
        (None, "cannot read the environment file .env"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(".env").write_text(content)
    assert main([".env"]) == 2
    errors = capsys.readouterr().err
    assert reason in errors
    assert errors.count("\n") == 1
    assert "secret" not in errors
    assert content is None or Path(".env").read_text() == content


def test_a_file_that_cannot_be_added_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ".env"
    file.write_text("OPENAI_API_KEY=sk\n")

    def refuse(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", refuse)
    assert main([str(file)]) == 2
    assert "has no JOURNAL_KEY, and none could be added: No space left on device" in capsys.readouterr().err
