"""Opt-in traces for an OpenTelemetry collector: OTLP/HTTP in JSON, without an OpenTelemetry package in the enclave.

A request becomes two spans: the gateway's server span and in it the upstream call's client span, with the attributes of
the GenAI conventions. They carry names, numbers and ids, never content. The queue is bounded and nothing is sent twice:
while the collector is unreachable, spans are dropped and counted.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import msgspec
from prometheus_client import CollectorRegistry, Counter

from gateway import __version__
from gateway.telemetry.request_record import RequestRecord

TRACED = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion"}
"""``gen_ai.operation.name`` by path; other requests are not traced."""
PROVIDERS = {"google": "gcp.gemini", "xai": "x_ai"}
"""``gen_ai.provider.name`` where it differs from the provider id."""
QUEUE = 4096
BATCH = 512
INTERVAL_SECONDS = 5.0
FLUSH_SECONDS = 3.0
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_SERVER, _CLIENT = 2, 3
_ERROR = {"code": 2}
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
log = logging.getLogger(__name__)


class Tracer:
    """Exports finished requests in batches to ``endpoint``/v1/traces with ``headers``."""

    def __init__(
        self,
        endpoint: str,
        registry: CollectorRegistry,
        headers: Mapping[str, str] | None = None,
        *,
        queue: int = QUEUE,
        interval: float = INTERVAL_SECONDS,
    ) -> None:
        self._url = f"{endpoint}/v1/traces"
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._limit = queue
        self._interval = interval
        self._queue: list[tuple[RequestRecord, int]] = []
        self._flush = asyncio.Event()
        self._stopping = False
        self._unreachable = False
        requests = Counter(
            "gateway_traced_requests", "Requests by outcome of their trace", ("outcome",), registry=registry
        )
        self._sent, self._dropped = requests.labels("sent"), requests.labels("dropped")

    def record(self, record: RequestRecord) -> None:
        """Queue a finished request unless its caller has not sampled it; drop it when the queue is full."""
        if record.method != "POST" or record.path not in TRACED or _unsampled(_parent(record)):
            return
        if len(self._queue) >= self._limit:
            self._dropped.inc()
            return
        self._queue.append((record, time.time_ns()))
        if len(self._queue) >= BATCH:
            self._flush.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Tracer"]:
        """Export in the background while inside; on exit flush the queue for at most ``FLUSH_SECONDS``."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as session:
            sending = asyncio.create_task(self._run(session))
            try:
                yield self
            finally:
                self._stopping = True
                self._flush.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_SECONDS):
                        await sending

    async def _run(self, session: aiohttp.ClientSession) -> None:
        ended = False
        while not ended:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._flush.wait()
            self._flush.clear()
            ended = self._stopping
            try:
                await self._send(session)
            except Exception:
                log.exception("traces were dropped")

    async def _send(self, session: aiohttp.ClientSession) -> None:
        while self._queue:
            batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
            delivered = False
            try:
                delivered = await self._deliver(session, payload(batch))
            finally:
                (self._sent if delivered else self._dropped).inc(len(batch))

    async def _deliver(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        try:
            async with session.post(self._url, data=body, headers=self._headers, allow_redirects=False) as response:
                problem = None if response.status == 200 else f"it answered {response.status}"
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = type(error).__name__
        if problem is not None and not self._unreachable:
            log.warning("dropping traces, the collector does not accept them: %s", problem)
        self._unreachable = problem is not None
        return problem is None


def payload(batch: list[tuple[RequestRecord, int]]) -> bytes:
    """An ExportTraceServiceRequest for requests, each with its end time in nanoseconds since the epoch."""
    spans = [span for record, ended in batch for span in spans_of(record, ended)]
    scope = {"scope": {"name": "gateway", "version": __version__}, "spans": spans}
    resource = {"attributes": _attributes({"service.name": "tee-gateway", "service.version": __version__})}
    return msgspec.json.encode({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})


def spans_of(record: RequestRecord, ended: int) -> list[dict[str, Any]]:
    """The request's server span and, if the upstream was called, the client span of that call."""
    server = _server_span(record, ended)
    return [server] if record.dispatched is None else [server, _client_span(record, ended, server)]


def _server_span(record: RequestRecord, ended: int) -> dict[str, Any]:
    parent = _parent(record)
    span = {
        "traceId": parent[1] if parent else secrets.token_hex(16),
        "spanId": secrets.token_hex(8),
        "name": f"{record.method} {record.path}",
        "kind": _SERVER,
        "startTimeUnixNano": _unix_nano(record, ended, record.started),
        "endTimeUnixNano": str(ended),
        "attributes": _attributes(_server_attributes(record)),
    }
    if parent:
        span["parentSpanId"] = parent[2]
    if record.fault in ("upstream", "gateway") and not 400 <= record.status < 500:
        span["status"] = _ERROR
    return span


def _client_span(record: RequestRecord, ended: int, server: dict[str, Any]) -> dict[str, Any]:
    span = {
        "traceId": server["traceId"],
        "spanId": secrets.token_hex(8),
        "parentSpanId": server["spanId"],
        "name": f"{TRACED[record.path]} {record.model}",
        "kind": _CLIENT,
        "startTimeUnixNano": _unix_nano(record, ended, record.dispatched),
        "endTimeUnixNano": _unix_nano(record, ended, record.answered),
        "attributes": _attributes(_client_attributes(record)),
    }
    if record.fault == "upstream":
        span["status"] = _ERROR
    return span


def _unix_nano(record: RequestRecord, ended: int, at: float | None) -> str:
    """``at``, a reading of ``time.perf_counter``, as Unix time; the end of the request if it is None."""
    seconds_before_end = 0.0 if at is None else record.started + (record.seconds or 0.0) - at
    return str(ended - max(0, round(seconds_before_end * 1e9)))


def _parent(record: RequestRecord) -> re.Match[str] | None:
    """The ``traceparent`` header: trace id, span id and flags."""
    return _TRACEPARENT.fullmatch(record.traceparent or "")


def _unsampled(parent: re.Match[str] | None) -> bool:
    return parent is not None and not int(parent[3], 16) & 1


def _server_attributes(record: RequestRecord) -> dict[str, Any]:
    return {
        "http.request.method": record.method,
        "http.route": record.path,
        "http.response.status_code": record.status or None,
        "error.type": record.error_class,
        "gateway.request.id": record.id,
        "gateway.request.state": record.state,
        "gateway.payment.seconds": record.payment_seconds,
        "gateway.first_byte.seconds": record.first_byte_seconds,
        "gateway.client.left": record.client_left,
    }


def _client_attributes(record: RequestRecord) -> dict[str, Any]:
    """Attributes of an inference by the GenAI conventions, without those that hold content."""
    provider = record.upstream or ""
    has_response = record.prompt_tokens is not None
    return {
        "gen_ai.operation.name": TRACED[record.path],
        "gen_ai.provider.name": PROVIDERS.get(provider, provider),
        "gen_ai.request.model": record.model,
        "gen_ai.response.model": record.served_model or record.model if has_response else None,
        "gen_ai.response.id": record.answer_id if has_response else None,
        "gen_ai.response.finish_reasons": record.finish_reasons or None,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
        "error.type": record.error_class if record.fault == "upstream" else None,
        "gateway.upstream.request.id": record.upstream_request_id,
    }


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """OTLP attributes; those that are None are omitted."""
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: bool | float | str | list[str]) -> dict[str, Any]:
    """An OTLP AnyValue in JSON, where 64-bit integers are strings."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
    return {"arrayValue": {"values": [_value(entry) for entry in value]}}
