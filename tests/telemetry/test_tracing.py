"""Traces: the exported spans, and that nothing waits for an unavailable collector."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from gateway.catalog import Catalog
from gateway.setting_checks import SettingsError
from gateway.settings import Settings
from gateway.telemetry.request_record import RequestRecord
from gateway.telemetry.tracing import Tracer, payload, spans_of
from tests.running_gateway import RunningGateway, StartGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario

SECRET = "a very private question"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Collector:
    """A trace collector on a loopback port that answers with ``status``; ``requests`` are those received."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.status = 200
        self.url = ""
        self.release = asyncio.Event()
        self.release.set()

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append((dict(request.headers), await request.json()))
        await self.release.wait()
        return web.json_response({}, status=self.status)

    def spans(self) -> list[dict[str, Any]]:
        return [
            span
            for _, body in self.requests
            for resource in body["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def traced(fleet: Fleet, start_gateway: StartGateway, collector: Collector) -> RunningGateway:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=one%20two",
    }
    running = await start_gateway({**fleet.environment(), **environment})
    assert running.services.tracer is not None
    running.services.tracer._interval = 0.05
    # The first wait began before it was shortened.
    running.services.tracer._flush.set()
    return running


async def arrived(collector: Collector, count: int) -> list[dict[str, Any]]:
    await until(lambda: len(collector.spans()) >= count)
    return collector.spans()


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    def plain(value: dict[str, Any]) -> Any:
        [(kind, content)] = value.items()
        if kind == "arrayValue":
            return [plain(entry) for entry in content["values"]]
        return int(content) if kind == "intValue" else content

    return {entry["key"]: plain(entry["value"]) for entry in span["attributes"]}


async def test_an_answer_is_two_spans(traced: RunningGateway, collector: Collector, fleet: Fleet) -> None:
    fleet.anthropic.enqueue(Scenario(text="an equally private answer"))
    response = await traced.chat("claude-sonnet-4-6", SECRET)
    answer = await response.json()
    own, call = await arrived(collector, 2)
    assert own["traceId"] == call["traceId"]
    assert call["parentSpanId"] == own["spanId"]
    assert (own["name"], call["name"]) == ("POST /v1/chat/completions", "chat claude-sonnet-4-6")
    assert int(own["startTimeUnixNano"]) <= int(call["startTimeUnixNano"]) < int(call["endTimeUnixNano"])
    assert int(call["endTimeUnixNano"]) <= int(own["endTimeUnixNano"])
    assert attributes(own)["gateway.request.id"] == response.headers["x-request-id"]
    told = attributes(call)
    assert told["gen_ai.provider.name"] == "anthropic"
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "claude-sonnet-4-6"
    assert told["gen_ai.response.id"] == answer["id"]
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert told["gen_ai.usage.input_tokens"] == answer["usage"]["prompt_tokens"]
    assert told["gen_ai.usage.output_tokens"] == answer["usage"]["completion_tokens"]
    [(headers, body)] = collector.requests
    assert headers["x-tenant"] == "one two"
    assert "private" not in json.dumps(body)


async def test_streams_and_failures(traced: RunningGateway, collector: Collector, fleet: Fleet) -> None:
    await traced.chat("gemini-2.5-flash", "Hi", stream=True)
    fleet.openai.enqueue(*[Scenario(error="server_error")] * 3)
    await traced.chat("gpt-4.1", SECRET)
    await traced.chat("no-such-model", "Hi")
    spans = await arrived(collector, 5)
    by_name = {span["name"]: span for span in spans}
    assert attributes(by_name["chat gemini-2.5-flash"])["gen_ai.provider.name"] == "gcp.gemini"
    streamed = by_name["chat gemini-2.5-flash"]["parentSpanId"]
    timed = [span["spanId"] for span in spans if "gateway.first_byte.seconds" in attributes(span)]
    assert timed == [streamed], "the time since the request, not since the call"
    failed = by_name["chat gpt-4.1"]
    assert failed["status"] == {"code": 2}
    assert attributes(failed)["error.type"] == "upstream_error"
    assert not any(key.startswith(("gen_ai.response", "gen_ai.usage")) for key in attributes(failed))
    assert {attributes(span).get("error.type") for span in spans} >= {"caller_unknown_model", "upstream_error"}
    assert SECRET not in json.dumps(spans)


async def test_a_stream_that_breaks_off_has_no_finish_reason(
    traced: RunningGateway, collector: Collector, fleet: Fleet
) -> None:
    fleet.openai.enqueue(Scenario(text="one two three four", cut_after=3))
    with pytest.raises(aiohttp.ClientPayloadError):
        await traced.chat("gpt-4.1", "Hi", stream=True)
    told = attributes((await arrived(collector, 2))[1])
    assert told["gen_ai.response.model"] == "gpt-4.1"
    assert "gen_ai.response.finish_reasons" not in told


@pytest.mark.parametrize(("status", "failed"), [(200, True), (429, False), (502, True)])
def test_a_server_span_is_an_error_unless_its_status_is_4xx(status: int, failed: bool) -> None:
    """As the conventions for HTTP have it; the span of the call is one in any case."""
    record = finished(model="gpt-4.1", upstream="openai", fault="upstream", status=status)
    record.dispatched = record.started
    own, call = spans_of(record, 10**18)
    assert ("status" in own, "status" in call) == (failed, True)


async def test_what_is_no_model_request_is_not_traced(traced: RunningGateway, collector: Collector) -> None:
    async with traced.session.get(traced.url + "/health") as response:
        await response.read()
    await traced.post("/v1/keys", {})
    await traced.chat("gpt-4.1", "Hi")
    assert {span["name"] for span in await arrived(collector, 2)} == {"POST /v1/chat/completions", "chat gpt-4.1"}


def finished(**fields: Any) -> RequestRecord:
    record = RequestRecord("req_1", "POST", "/v1/chat/completions", **fields)
    record.seconds = 1.0
    return record


def test_a_callers_trace_is_continued() -> None:
    [span] = spans_of(finished(traceparent=TRACEPARENT), 10**18)
    assert (span["traceId"], span["parentSpanId"]) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


async def test_what_its_caller_does_not_sample_is_neither_sent_nor_dropped(collector: Collector) -> None:
    registry = CollectorRegistry()
    async with Tracer(collector.url, registry, queue=1, interval=60).running() as tracer:
        for _ in range(2):
            tracer.record(finished(traceparent=TRACEPARENT[:-1] + "0"))
        tracer.record(finished(traceparent=TRACEPARENT))
    assert counts(registry) == {"sent": 1, "dropped": 0}
    assert len(collector.spans()) == 1


async def test_what_is_under_way_at_the_end_is_not_lost(collector: Collector) -> None:
    registry = CollectorRegistry()
    collector.release.clear()
    async with Tracer(collector.url, registry, interval=0.01).running() as tracer:
        tracer.record(finished())
        await arrived(collector, 1)
        tracer.record(finished())
        asyncio.get_running_loop().call_later(0.1, collector.release.set)
    assert counts(registry) == {"sent": 2, "dropped": 0}


@pytest.mark.parametrize(
    "header",
    ["", "nonsense", TRACEPARENT + "\r\nx: y", TRACEPARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32)],
)
def test_a_bad_traceparent_is_ignored(header: str) -> None:
    [span] = spans_of(finished(traceparent=header), 10**18)
    assert "parentSpanId" not in span
    assert len(span["traceId"]) == 32


def test_payload_is_an_export_request() -> None:
    """Parsed by the protocol's own message types, which reject unknown fields."""
    trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    json_format = pytest.importorskip("google.protobuf.json_format")
    record = finished(model="gpt-4.1", upstream="openai", prompt_tokens=3, finish_reasons=["stop"], client_left=True)
    record.dispatched, record.answered, record.first_byte_seconds = record.started + 0.1, record.started + 0.9, 0.25
    body = json.loads(payload([(record, 10**18)]))
    for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in span:  # OTLP's JSON has these in hexadecimal, protobuf's in base64
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    request = json_format.ParseDict(body, trace_service.ExportTraceServiceRequest())
    own, call = request.resource_spans[0].scope_spans[0].spans
    assert (own.kind, call.kind) == (2, 3)
    assert call.parent_span_id == own.span_id
    assert call.end_time_unix_nano - call.start_time_unix_nano == pytest.approx(0.8e9, rel=1e-3)
    told = {entry.key: entry.value for entry in call.attributes}
    assert told["gen_ai.usage.input_tokens"].int_value == 3
    assert told["gen_ai.response.finish_reasons"].array_value.values[0].string_value == "stop"
    assert {entry.key: entry.value for entry in own.attributes}["gateway.client.left"].bool_value is True


def counts(registry: CollectorRegistry) -> dict[str, float | None]:
    return {
        outcome: registry.get_sample_value("gateway_traced_requests_total", {"outcome": outcome})
        for outcome in ("sent", "dropped")
    }


async def test_an_absent_collector_costs_traces_only(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    collector.status = 503
    async with Tracer(collector.url, registry, queue=3, interval=0.02).running() as tracer:
        for _ in range(5):
            tracer.record(finished())
        await arrived(collector, 3)
        tracer.record(finished())
        await arrived(collector, 4)
        collector.status = 200
        tracer.record(finished())
    assert counts(registry) == {"sent": 1, "dropped": 6}
    assert sum("the collector does not accept them" in line for line in caplog.messages) == 1


async def test_a_batch_that_cannot_be_sent_is_dropped_and_the_next_one_sent(
    traced: RunningGateway, collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unforeseen fault once ended the export for good, and nothing said so."""

    def fail(record: RequestRecord, ended: int) -> Any:
        raise ValueError(record.id)

    with monkeypatch.context() as broken:
        broken.setattr("gateway.telemetry.tracing.spans_of", fail)
        await traced.chat("gpt-4.1", "Hi")
        await until(lambda: "traces were dropped" in caplog.text)
    await traced.chat("gpt-4.1", "Hi")
    assert len(await arrived(collector, 2)) == 2
    exposition = traced.services.metrics.render().decode()
    assert 'gateway_traced_requests_total{outcome="dropped"} 1.0' in exposition


async def test_a_collector_that_refuses_connections(unused_tcp_port: int) -> None:
    registry = CollectorRegistry()
    async with Tracer(f"http://127.0.0.1:{unused_tcp_port}", registry, interval=60).running() as tracer:
        tracer.record(finished())
    assert counts(registry) == {"sent": 0, "dropped": 1}


async def test_off_unless_asked_for(gateway: RunningGateway) -> None:
    assert gateway.services.tracer is None


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "no-value"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "a=b%0d%0ac"},
    ],
)
def test_settings_that_cannot_be_used(catalog: Catalog, variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(variables))):
        Settings.from_environment(variables, catalog.providers, enclave=False)
