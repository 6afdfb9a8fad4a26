"""The metrics that requests update, also those that fail after their status was sent."""

import ast
import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import gateway
from gateway.telemetry.logs import EXTRA_FIELDS, JsonFormatter
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.request_log import log_request
from gateway.telemetry.request_record import RequestRecord
from gateway.telemetry.standard_error import StandardError
from tests.faults.raw_upstream import answering, http
from tests.recording_payments import RecordingPayments
from tests.running_gateway import RunningGateway, StartGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario


def value(gateway: RunningGateway, name: str, **labels: str) -> float:
    found = gateway.services.metrics.registry.get_sample_value(name, labels)
    return 0.0 if found is None else found


def test_cpu_time_is_counted_once() -> None:
    metrics, before = Metrics(), time.process_time()
    for _ in range(3):
        metrics.update_process()
    counted = metrics.registry.get_sample_value("gateway_cpu_seconds_total")
    assert counted is not None
    assert before - 0.01 <= counted <= time.process_time() + 0.01


async def test_gaps_between_the_events_of_a_stream(gateway: RunningGateway, fleet: Fleet) -> None:
    fleet.openai.enqueue(Scenario(text="one two three four", event_delay=0.02))
    await gateway.chat("gpt-4.1", "Hi", stream=True)
    gaps = value(gateway, "gateway_inter_event_seconds_count", upstream="openai")
    assert gaps >= 3
    assert value(gateway, "gateway_inter_event_seconds_sum", upstream="openai") >= 0.015 * gaps
    assert value(gateway, "gateway_first_byte_seconds_count", upstream="openai") == 1
    assert value(gateway, "gateway_answer_seconds_count", upstream="openai") == 1


async def test_own_time_excludes_the_upstream(gateway: RunningGateway, fleet: Fleet) -> None:
    fleet.openai.enqueue(Scenario(text="late", first_byte_delay=0.3))
    await gateway.chat("gpt-4.1", "Hi")
    assert value(gateway, "gateway_overhead_seconds_count") == 1
    assert value(gateway, "gateway_overhead_seconds_bucket", le="30.0") == 1, "the longest wait in the queue"
    assert value(gateway, "gateway_overhead_seconds_sum") < 0.25
    assert value(gateway, "gateway_answer_seconds_sum", upstream="openai") >= 0.3


async def test_a_stream_that_breaks_off_is_counted(gateway: RunningGateway, fleet: Fleet) -> None:
    fleet.openai.enqueue(Scenario(text="one two three four", cut_after=3))
    with pytest.raises(aiohttp.ClientPayloadError):
        await gateway.chat("gpt-4.1", "Hi", stream=True)
    assert value(gateway, "gateway_errors_total", domain="upstream", error="upstream_truncated") == 1
    assert value(gateway, "gateway_upstream_errors_total", upstream="openai", error="upstream_truncated") == 1
    assert value(gateway, "gateway_requests_total", path="/v1/chat/completions", status="200") == 1


async def test_what_a_vendor_says_of_the_caller_is_no_error_of_the_vendor(
    gateway: RunningGateway, fleet: Fleet
) -> None:
    fleet.openai.enqueue(Scenario(error="context_length"))
    assert (await gateway.chat("gpt-4.1", "Hi")).status == 400
    assert value(gateway, "gateway_errors_total", domain="caller", error="caller_context_length") == 1
    async with gateway.session.get(gateway.url + "/metrics") as response:
        assert 'gateway_upstream_errors_total{error="caller' not in await response.text()


async def test_classes_are_there_before_anything_fails(gateway: RunningGateway) -> None:
    async with gateway.session.get(gateway.url + "/metrics") as response:
        text = await response.text()
    assert 'gateway_errors_total{domain="gateway",error="gateway_other"} 0.0' in text
    assert 'gateway_unknown_served_models_total{upstream="xai"} 0.0' in text
    assert 'gateway_upstream_errors_total{error="upstream_auth",upstream="nous"} 0.0' in text
    assert 'gateway_answer_seconds_count{upstream="nous"} 0.0' in text
    assert "gateway_workers_lost_total 0.0" in text
    assert 'gateway_estimated_answers_total{upstream="google"} 0.0' in text
    assert "gateway_workers_ready 1.0" in text
    assert 'gateway_workers{version="' in text
    assert "_created" not in text


async def test_unknown_urls_share_one_series(gateway: RunningGateway) -> None:
    for number in range(3):
        async with gateway.session.get(f"{gateway.url}/nowhere/{number}") as response:
            assert response.status == 404
    assert value(gateway, "gateway_requests_total", path="unknown", status="404") == 3


def test_log_line_has_the_class_and_no_moments(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.requests")
    record = RequestRecord("req_1", "POST", "/v1/chat/completions", traceparent="00-0-0-00", dispatched=1.0)
    record.error_class, record.payment_seconds = "caller_other", 0.1234567891
    log_request(record)
    line = json.loads(capfd.readouterr().err)
    assert line["error_class"] == "caller_other"
    assert line["payment_seconds"] == 0.123457
    assert not {"started", "dispatched", "last_output", "answered", "traceparent"} & set(line)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[bytes]:
    """What the request log writes to standard error."""
    caplog.set_level(logging.INFO, "gateway.requests")
    writes: list[bytes] = []
    monkeypatch.setattr(StandardError, "write", lambda _, lines: writes.append(lines))
    return writes


@pytest.mark.parametrize("estimated", [True, None])
async def test_the_line_of_an_answer_names_its_payment_and_what_was_estimated(
    estimated: bool | None,
    paid: RunningGateway,
    payments: RecordingPayments,
    fleet: Fleet,
    written: list[bytes],
) -> None:
    payments.id = "0123456789abcdef"
    fleet.openai.enqueue(Scenario(text="one", omit_usage=bool(estimated)))
    await paid.chat("gpt-4.1", "Hi")
    await until(lambda: bool(written))
    line = json.loads(b"".join(written))
    assert (line["payment"], line["payment_status"]) == (payments.id, "settled")
    assert line.get("estimated") is estimated


VENDOR_ID = b"x-request-id: req_of_the_vendor"
SERVER_ERROR = b'{"error": {"message": "no", "type": "server_error"}}'


@pytest.mark.parametrize(
    ("response", "logged"),
    [
        (http(500, b"{}", VENDOR_ID), ("upstream_error", 500, 3, "req_of_the_vendor")),
        (http(418, b"{}", VENDOR_ID), ("upstream_bad_response", 418, 1, "req_of_the_vendor")),
        (http(404, b"{}"), ("model_not_found", 404, 1, None)),
        (http(200, SERVER_ERROR, VENDOR_ID), ("upstream_error", None, 2, "req_of_the_vendor")),
        (b"", ("upstream_unreachable", None, 3, None)),
    ],
)
async def test_a_failed_call_is_logged_with_the_vendors_status_and_id_and_the_attempts(
    start_gateway: StartGateway, written: list[bytes], response: bytes, logged: tuple[Any, ...]
) -> None:
    async with answering(response) as url:
        gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"})
        await gateway.chat("gpt-4.1", "Hi")
    line = json.loads(b"".join(written))
    names = ("error", "upstream_status", "attempts", "upstream_request_id")
    assert tuple(line.get(name) for name in names) == logged


async def test_a_call_that_fails_again_in_another_way_counts_all_attempts(
    start_gateway: StartGateway, written: list[bytes]
) -> None:
    responses = [http(200, SERVER_ERROR), http(503, b"{}"), http(400, b"{}", VENDOR_ID)]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(responses.pop(0))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        gateway = await start_gateway({"OPENAI_BASE_URL": f"http://{host}:{port}", "OPENAI_API_KEY": "k"})
        await gateway.chat("gpt-4.1", "Hi")
    line = json.loads(b"".join(written))
    assert (line["upstream_status"], line["attempts"], line["upstream_request_id"]) == (400, 3, "req_of_the_vendor")


async def test_a_model_unknown_to_the_catalogue_is_logged_by_the_beginning_of_its_name(
    start_gateway: StartGateway, written: list[bytes]
) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    body = json.dumps({"model": "x" * 100_000, "choices": [choice]})
    async with answering(http(200, body.encode())) as url:
        gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"})
        assert (await gateway.chat("gpt-4.1", "Hi")).status == 200
    assert json.loads(b"".join(written))["served_model"] == "x" * 128


async def test_the_log_lines_of_one_loop_iteration_are_written_together(written: list[bytes]) -> None:
    ids = [f"req_{number}" for number in range(40)]
    for request_id in ids:
        log_request(RequestRecord(request_id, "POST", "/v1/chat/completions", model="m"))
    await asyncio.sleep(0)
    (lines,) = written
    assert [json.loads(line)["id"] for line in lines.splitlines()] == ids
    assert lines.endswith(b"\n")


def _line(**facts: Any) -> dict[str, Any]:
    record = logging.LogRecord("gateway", logging.ERROR, __file__, 1, "settlement refused", (), None)
    record.__dict__.update(facts)
    return dict(json.loads(JsonFormatter().format(record)))


def test_a_line_tells_which_payment_and_why() -> None:
    line = _line(payment="0123456789abcdef", reason="insufficient_funds", asked=10**24, seconds=31)
    assert (line["event"], line["payment"], line["reason"]) == (
        "settlement refused",
        "0123456789abcdef",
        "insufficient_funds",
    )
    assert (line["asked"], line["seconds"]) == (str(10**24), 31)


def test_a_reason_in_somebody_elses_words_names_nobody_and_is_short() -> None:
    payer, signature = "0x" + "aB" * 20, "cd" * 65
    line = _line(reason=f"{payer} signed {signature}, {'and on ' * 1000}")
    assert line["reason"].startswith("0xaBaBaBaB... signed cdcdcdcdcd..., and on")
    assert len(line["reason"]) <= 300


def test_what_is_no_fact_is_not_told() -> None:
    assert "prompt" not in _line(prompt="a very private question")


def test_every_fact_that_the_gateway_logs_is_told() -> None:
    source = Path(gateway.__file__).parent
    calls = [
        (node, keyword.value)
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log.")
        for keyword in node.keywords
        if keyword.arg == "extra"
    ]
    assert len(calls) > 20
    for call, extra in calls:
        assert isinstance(extra, ast.Dict), ast.unparse(call)
        assert {key.value for key in extra.keys if isinstance(key, ast.Constant)} <= set(EXTRA_FIELDS), ast.unparse(
            call
        )
