"""Ctrl-C ends every command silently with status 130, a closed output with 141; output of any encoding is written."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COMMANDS = [
    path.relative_to(REPOSITORY)
    for folder in ("tools", "nitro")
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
    if "def main(" in (text := path.read_text()) and '\nif __name__ == "__main__":\n' in text
]


@pytest.fixture
def silent() -> socket.socket:
    """Accepts connections and sends nothing."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(60)
    return listening


@pytest.mark.parametrize(
    "command",
    [
        ["tools.verify", "response", "--request", "{files}", "--response", "{files}", "--key-url", "{url}"],
        ["tools.registry", "show", "--rpc", "{url}"],
    ],
    ids=["verify", "registry"],
)
def test_an_interrupted_command_ends_with_130_and_without_a_word(
    command: list[str], silent: socket.socket, tmp_path: Path
) -> None:
    file = tmp_path / "file.json"
    file.write_text("{}")
    words = [word.format(url=f"http://127.0.0.1:{silent.getsockname()[1]}", files=file) for word in command]
    with (
        silent,
        subprocess.Popen(
            [sys.executable, "-m", *words], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=60)
    assert (process.returncode, *told) == (130, b"", b"")


@pytest.mark.parametrize("main", ["print('x' * 100_000)", "print('x')"], ids=["much", "little"])
def test_a_command_whose_reader_has_gone_ends_with_141_and_without_a_word(main: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = f"from tools.command_line import exit_with\nexit_with(lambda: {main})"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_what_the_outputs_encoding_lacks_is_escaped() -> None:
    code = "from tools.command_line import exit_with\nexit_with(lambda: print('[MODULE …]'))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"[MODULE \\u2026]\n", b"")


@pytest.mark.parametrize("path", COMMANDS, ids=str)
def test_every_command_ends_so(path: Path) -> None:
    assert (REPOSITORY / path).read_text().endswith("    exit_with(main)\n")
