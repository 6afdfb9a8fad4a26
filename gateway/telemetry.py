"""Metrics and the request log: numbers, ids and names, never content, keys or addresses."""

import logging
import sys
import time
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.openai_api.errors import Fault
from gateway.openai_api.usage import Usage

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_LONG_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


@dataclass(slots=True)
class RequestRecord:
    """What is known of one request, and what its log line says. Times in seconds; None is left out."""

    id: str
    method: str
    path: str
    status: int = 0
    model: str | None = None
    upstream: str | None = None
    upstream_request_id: str | None = None
    served_model: str | None = None
    stream: bool | None = None
    state: str | None = None
    error: str | None = None
    fault: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated: bool | None = None
    cost_usd: str | None = None
    client_left: bool | None = None
    seconds: float | None = None
    upstream_seconds: float | None = None
    first_byte_seconds: float | None = None
    chunks: int | None = None
    started: float = field(default_factory=time.perf_counter)
    own_seconds: float = 0.0


class Metrics:
    """The gateway's Prometheus metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answered requests", ("path", "status"))
        self.errors = self._counter("errors", "Failed requests by fault domain", ("fault", "status"))
        self.tokens = self._counter("tokens", "Metered tokens", ("model", "kind"))
        self.estimated = self._counter("estimated_answers", "Answers whose usage had to be estimated", ("upstream",))
        self.unknown_served = self._counter(
            "unknown_served_models", "Answers by a model that the catalogue does not know", ("upstream",)
        )
        self.overhead = self._histogram("overhead_seconds", "Own time of a request, upstream excluded", _SECONDS)
        self.chunk = self._histogram("chunk_seconds", "Own time per batch of stream events, mean of a stream", _SECONDS)
        self.first_byte = self._histogram("first_byte_seconds", "Time to the first output", _LONG_SECONDS)
        self.in_flight = self._gauge("requests_in_flight", "Requests being served", ())
        self.queued = self._gauge("requests_queued", "Requests waiting for admission", ())
        self.streams = self._gauge("open_streams", "Streams being written", ())
        self.connections = self._gauge("upstream_connections", "Upstream connections in use", ("upstream",))
        self.breakers = self._gauge("upstream_breaker_open", "1 while calls to the upstream are refused", ("upstream",))

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"gateway_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"gateway_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"gateway_{name}", text, registry=self.registry, buckets=buckets)

    def count_usage(self, model: str, upstream: str, usage: Usage) -> None:
        for kind, count in (
            ("prompt", usage.prompt_tokens - usage.cached_tokens),
            ("cached", usage.cached_tokens),
            ("completion", usage.completion_tokens),
        ):
            if count:
                self.tokens.labels(model, kind).inc(count)
        if usage.estimated:
            self.estimated.labels(upstream).inc()

    def count_error(self, fault: Fault, status: int) -> None:
        self.errors.labels(fault.value, status).inc()

    def render(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)


class JsonFormatter(logging.Formatter):
    """One JSON object per line. A message that is a ``RequestRecord`` becomes its fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if isinstance(record.msg, RequestRecord):
            line["event"] = "request"
            line |= {
                name: round(value, 6) if isinstance(value, float) else value
                for name in _RECORD_FIELDS
                if (value := getattr(record.msg, name)) is not None
            }
        else:
            line["event"] = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["at"] = _innermost_frame(record)
        return msgspec.json.encode(line).decode()


_RECORD_FIELDS = tuple(entry.name for entry in fields(RequestRecord) if entry.name not in ("started", "own_seconds"))


def _innermost_frame(record: logging.LogRecord) -> str | None:
    """Where an exception was raised. Its text stays out: it may quote a prompt."""
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else None


def configure_logging() -> None:
    """JSON lines on standard error for everything."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
