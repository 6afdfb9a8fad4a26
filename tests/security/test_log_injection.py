"""Log records stay single lines of plain JSON, whatever callers and vendors put into names, paths and ids."""

import asyncio
import errno
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gateway.openai_api.errors import GatewayError
from gateway.telemetry.logs import JsonFormatter
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.request_record import RequestRecord
from gateway.telemetry.standard_error import StandardError
from tests.faults.raw_upstream import answering, http
from tests.running_gateway import RunningGateway, StartGateway
from tools.soak.raw_client import RawClient

NASTY = "\x1b[31mred\x9b2J\u202e\u2028\r\nfake: line"
PROMPT = "the-secret-prompt"
ANSWER = "the-secret-answer"


@pytest.fixture(autouse=True)
def requests_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.requests")


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """What the request log writes to standard error."""
    lines = bytearray()
    monkeypatch.setattr(StandardError, "write", lambda _, data: lines.extend(data))
    return lines


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The process's log output without request lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def checked(data: bytes) -> list[dict[str, object]]:
    """The log's lines, checked to be ASCII without control characters."""
    lines = data.splitlines()
    assert all(0x20 <= byte < 0x7F for line in lines for byte in line)
    assert PROMPT.encode() not in data
    assert ANSWER.encode() not in data
    return [json.loads(line) for line in lines]


async def test_callers(gateway: RunningGateway, written: bytearray) -> None:
    bodies = [
        {"model": NASTY, "messages": [{"role": "user", "content": PROMPT}]},
        {"model": "gpt-4.1", "messages": [{"role": "user", "content": PROMPT}], NASTY: 1},
        {"model": "gpt-4.1", "messages": [{"role": NASTY, "content": PROMPT}]},
        {"model": "gpt-4.1", "messages": [{"role": "user", "content": PROMPT}], "user": NASTY},
    ]
    for body in bodies:
        await gateway.post("/v1/chat/completions", body)
    for path in ("/%1b%5b31m%0d%0afake", "/v1/models/%1b%0d%0a", "/v1/models/%c2%9b2J"):
        async with RawClient(gateway.url) as client:
            await client.send(f"GET {path} HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: a\x85b\r\n\r\n".encode())
            await client.read()
    lines = checked(bytes(written))
    assert len(lines) == len(bodies) + 3
    assert {line["path"] for line in lines} == {"/v1/chat/completions", "unknown", "/v1/models/{id}"}


async def test_a_header_that_is_not_utf_8_is_the_callers_fault(gateway: RunningGateway, written: bytearray) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\nContent-Encoding: \xff\r\n\r\n"
    async with RawClient(gateway.url) as client:
        await client.send(head + b"{}")
        answer = await client.read()
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b"Content-Encoding '?' is not supported" in answer
    [line] = checked(bytes(written))
    assert (line["status"], line["error_class"]) == (415, "caller_unsupported")


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_vendors(start_gateway: StartGateway, written: bytearray, status: int) -> None:
    message = {"role": "assistant", "content": ANSWER}
    body = {
        "id": NASTY,
        "model": NASTY + "\ud800",
        "choices": [{"index": 0, "message": message, "finish_reason": NASTY}],
        "error": {"message": f"{PROMPT} {NASTY}", "code": NASTY, "type": NASTY, "param": NASTY},
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        "system_fingerprint": NASTY,
    }
    if status == 200:
        del body["error"]
        body["model"] = NASTY
    encoded = json.dumps(body).encode()
    async with answering(http(status, encoded, b"x-request-id: \xff\xc2\x9b2J" + b"x" * 9000)) as url:
        gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"})
        response = await gateway.chat("gpt-4.1", PROMPT)
    assert response.status != 500
    [line] = checked(bytes(written))
    assert line["status"] == response.status
    assert len(json.dumps(line)) < 2048


@pytest.mark.parametrize(
    ("code", "logged"),
    [
        ("string_above_max_length", "string_above_max_length"),
        ("InvalidParameter.UnsupportedInput", "InvalidParameter.UnsupportedInput"),
        (f"invalid_value: {PROMPT}", "invalid_value"),
        (f"0x{'7f' * 20}", "payment_error"),
        ("x" * 100_000, "x" * 64),
        (f"\r\n{PROMPT}", "payment_error"),
    ],
)
def test_an_error_code_is_logged_by_its_first_word(code: str, logged: str) -> None:
    """As a facilitator's, whose reason is the code of a settlement that failed."""
    record = RequestRecord("req_1", "POST", "/v1/chat/completions")
    Metrics().count_failure(record, GatewayError("no", status=402, type="payment_error", code=code))
    assert record.error == logged


async def test_exceptions_are_named_but_not_told(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    class Broken:
        def find(self, name: str) -> None:
            raise RuntimeError(f"{PROMPT} {NASTY}")

    monkeypatch.setattr(gateway.services, "catalog", Broken())
    response = await gateway.chat("gpt-4.1", PROMPT)
    assert response.status == 500
    assert PROMPT not in await response.text()
    [line] = checked(log.getvalue().encode())
    assert (line["exception"], line["level"]) == ("RuntimeError", "error")
    assert str(line["at"]).startswith("test_exceptions_are_named_but_not_told.<locals>.Broken.find:")


async def test_errors_of_the_system_are_logged_by_their_number(log: io.StringIO) -> None:
    """Their class alone does not tell a full disk from a lack of descriptors, and their text names files."""
    for number in (errno.EMFILE, 9999):
        logging.getLogger("gateway").error("cannot accept connections", exc_info=OSError(number, PROMPT, PROMPT))
    lines = checked(log.getvalue().encode())
    assert [(line["exception"], line["errno"]) for line in lines] == [("OSError", "EMFILE"), ("OSError", "9999")]


async def test_the_event_loop_does_not_quote_what_was_involved(log: io.StringIO) -> None:
    loop = asyncio.get_running_loop()

    def fail(secret: str) -> None:
        raise RuntimeError(secret)

    loop.call_soon(fail, PROMPT)
    await asyncio.sleep(0)
    loop.call_exception_handler({"message": "Task exception was never retrieved", "future": f"{PROMPT} {NASTY}"})
    lines = checked(log.getvalue().encode())
    assert [line["event"] for line in lines] == ["Exception in callback test", "Task exception was never retrieved"]


CRASHING = f"""
import sys, threading
from gateway.telemetry.logs import configure_logging

class Broken:
    def __del__(self):
        fail()

def fail():
    raise RuntimeError({PROMPT!r})

configure_logging()
Broken()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""


def test_exceptions_that_nothing_catches_are_named_but_not_told() -> None:
    ended = subprocess.run([sys.executable, "-c", CRASHING], capture_output=True, check=False)
    lines = checked(ended.stderr)
    assert [(line["event"], line["exception"], line["at"]) for line in lines] == [
        ("exception ignored", "RuntimeError", "fail:10"),
        ("uncaught exception in a thread", "RuntimeError", "fail:10"),
        ("uncaught exception", "RuntimeError", "fail:10"),
    ]
    assert ended.returncode == 1
