"""The ``python -m tools.verify response`` command line: output, JSON and exit codes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.verify.threaded_server import serving
from tools.verify.__main__ import main

Json = Any
Write = Callable[[str, Any], str]
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CANONICAL = '{"messages": [{"content": "hi", "role": "user"}], "model": "m", "temperature": 0.0}'


@pytest.fixture
def files(answer_signer: Any, write: Write) -> dict[str, str]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "ho"}, "finish_reason": "stop"}
    return {
        "key": write("key.pem", answer_signer.pem),
        "request": write("request.json", REQUEST),
        "response": write("response.json", {"choices": [choice], **answer_signer.envelope(CANONICAL, "ho")}),
    }


def run(files: dict[str, str], *extra: str) -> int:
    return main(["response", *[part for name in files for part in (f"--{name}", files[name])], *extra])


def test_a_valid_answer_prints_four_passes_and_what_is_not_covered(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(files) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["PASS", "tee_id"],
        ["PASS", "request_hash"],
        ["PASS", "output_hash"],
        ["PASS", "signature"],
    ]
    assert lines[4:6] == ["valid", "not covered by the signature:"]
    uncovered = "\n".join(lines[5:])
    for item in ("model", "usage", "finish_reason", "price", "pictures", "tool_choice", "text beside tool calls"):
        assert item in uncovered


def test_json_report(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["valid"] is True
    assert [claim["claim"] for claim in report["claims"]] == ["tee_id", "request_hash", "output_hash", "signature"]
    assert report["not_covered"]


def test_an_invalid_answer_exits_1_and_its_text_cannot_forge_a_line(
    files: dict[str, str], write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = {"tee_id": "x\nPASS tee_id \x1b[2J", "choices": []}
    assert run({**files, "response": write("forged.json", forged)}) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert [line for line in out.splitlines() if line.startswith("PASS")] == []
    assert "invalid: tee_id, request_hash, output_hash, signature" in out


def test_an_sse_file(files: dict[str, str], write: Write, answer_signer: Any) -> None:
    chunks: list[Json] = [
        {"choices": [{"index": 0, "delta": {"content": "ho"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **answer_signer.envelope(CANONICAL, "ho")},
    ]
    stream = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    assert run({**files, "response": write("response.sse", stream.encode())}) == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("key", b"nonsense", "not a PEM public key"),
        ("request", b"nonsense", "not JSON"),
        ("request", b"[]", "not a JSON object"),
        ("request", b"{}", "the request has no messages"),
    ],
)
def test_unusable_inputs_exit_2_with_one_line(
    name: str,
    content: bytes,
    message: str,
    files: dict[str, str],
    write: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run({**files, name: write("bad", content)}) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_a_missing_file_exits_2(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run({**files, "response": files["response"] + ".gone"}) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["key", "request", "response"])
def test_missing_options_exit_2(missing: str, files: dict[str, str]) -> None:
    del files[missing]
    with pytest.raises(SystemExit) as caught:
        run(files)
    assert caught.value.code == 2


@pytest.fixture
def key_server(answer_signer: Any) -> Iterator[str]:
    """Serves /signing-key like the gateway, /large, /page, and 404 for everything else."""
    document = {"public_key": answer_signer.pem.decode(), "tee_id": answer_signer.tee_id, "wallet_address": "0x00"}

    def answer(path: str, _body: bytes) -> tuple[int, bytes]:
        if path == "/signing-key":
            return 200, json.dumps(document).encode()
        return {"/large": (200, b"x" * 100_000), "/page": (200, b"<html>")}.get(path, (404, b"x"))

    with serving(answer) as url:
        yield url


@pytest.mark.parametrize("path", ["/signing-key", "/", ""])
def test_key_from_a_url(path: str, key_server: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    del files["key"]
    assert run(files, "--key-url", key_server + path) == 0
    assert "note: the key came from a URL" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/other", "returned 404"),
        ("/large", "more than"),
        ("/page", "/page is not a PEM public key"),
        (":1/signing-key", "not a URL"),
    ],
)
def test_a_url_without_a_key_is_reported(
    path: str, message: str, key_server: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    del files["key"]
    assert run(files, "--key-url", key_server + path) == (2 if message == "not a URL" else 3)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://[", "https://", "localhost/signing-key"])
def test_what_is_no_url_exits_2(url: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    del files["key"]
    assert run(files, "--key-url", url) == 2
    assert capsys.readouterr().err.startswith("python -m tools.verify response: not a")


def test_nobody_at_the_url_exits_3(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    del files["key"]
    assert run(files, "--key-url", f"http://127.0.0.1:{port}/signing-key") == 3
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize("valid", [True, False])
def test_a_reader_who_leaves_does_not_change_the_verdict(files: dict[str, str], write: Write, valid: bool) -> None:
    if not valid:
        files["request"] = write("other.json", {**REQUEST, "model": "n"})
    command = [sys.executable, "-m", "tools.verify", "response"]
    command += [part for name in files for part in (f"--{name}", files[name])]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0 if valid else 1, b"")


def test_a_terminal_of_few_letters_does_not_change_the_verdict(files: dict[str, str]) -> None:
    command = [sys.executable, "-m", "tools.verify", "response"]
    command += [part for name in files for part in (f"--{name}", files[name])]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"PASS signature" in done.stdout


def test_a_report_that_cannot_be_kept_is_no_verdict(files: dict[str, str]) -> None:
    command = [sys.executable, "-m", "tools.verify", "response"]
    command += [part for name in files for part in (f"--{name}", files[name])]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "the report cannot be written: No space left on device" in done.stderr
