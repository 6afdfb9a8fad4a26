"""Metrics and the request log: numbers, ids and names, never content, keys or addresses."""

import asyncio
import json
import logging
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from select import PIPE_BUF
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest

from gateway import __version__
from gateway.openai_api.error_classes import CLASSES, error_class
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.usage import Usage
from gateway.telemetry.counter import Tally
from gateway.telemetry.histogram import Distribution, Histogram

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_LONG_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_EVENT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 60, 120)
disable_created_metrics()  # type: ignore[no-untyped-call]  # moments do not add up over workers


class RequestRecord(msgspec.Struct):
    """What is known of one request, and what its log line says. Times in seconds; None is left out.

    ``started``, ``dispatched``, ``last_output`` and ``answered`` are moments of ``time.perf_counter``.
    """

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
    error_class: str | None = None
    fault: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated: bool | None = None
    cost_usd: str | None = None
    client_left: bool | None = None
    seconds: float | None = None
    upstream_seconds: float | None = None
    payment_seconds: float | None = None
    first_byte_seconds: float | None = None
    chunks: int | None = None
    started: float = msgspec.field(default_factory=time.perf_counter)
    own_seconds: float = 0.0
    dispatched: float | None = None
    last_output: float | None = None
    answered: float | None = None
    answer_id: str | None = None
    finish_reasons: list[str] | None = None
    traceparent: str | None = None


class Metrics:
    """The gateway's Prometheus metrics, in a registry of their own. docs/monitoring.md is made from it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._tally("requests", "Answered requests", ("path", "status"))
        self._errors = self._counter("errors", "Failed requests by class and its domain", ("domain", "error"))
        self._classes = {name: self._errors.labels(name.partition("_")[0], name) for name in CLASSES}
        self._tokens = self._tally("tokens", "Metered tokens", ("model", "kind"))
        self.estimated = self._counter("estimated_answers", "Answers whose usage had to be estimated", ("upstream",))
        self.unknown_served = self._counter(
            "unknown_served_models", "Answers by a model that the catalogue does not know", ("upstream",)
        )
        self._cpu = self._counter("cpu_seconds", "Processor time of all workers", ())
        self._cpu_seen = 0.0
        self.overhead = self._histogram(
            "overhead_seconds", "Own time of a request: neither upstream nor payment", _SECONDS
        )
        self.chunk = self._histogram("chunk_seconds", "Own time per batch of stream events, mean of a stream", _SECONDS)
        self.duration = self._histogram(
            "answer_seconds", "From a model request to the end of its answer", _LONG_SECONDS, "upstream"
        )
        self.first_byte = self._histogram(
            "first_byte_seconds", "Time to a stream's first output", _LONG_SECONDS, "upstream"
        )
        self._gaps = self._histogram(
            "inter_event_seconds", "Between a stream's output events", _EVENT_SECONDS, "upstream"
        )
        self.workers = self._gauge("workers", "Serving processes", ("version",))
        self.ready = self._gauge("workers_ready", "Processes that welcome new work", ())
        self.memory = self._gauge("peak_memory_bytes", "Largest resident size so far, of all workers together", ())
        self.in_flight = self._gauge("requests_in_flight", "Requests being served", ())
        self.queued = self._gauge("requests_queued", "Requests waiting for admission", ())
        self.streams = self._gauge("open_streams", "Streams being written", ())
        self.connections = self._gauge("upstream_connections", "Upstream connections in use", ("upstream",))
        self.breakers = self._gauge(
            "upstream_breaker_open", "Workers that refuse calls for a model of the upstream for now", ("upstream",)
        )
        self.workers.labels(__version__).set(1)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"gateway_{name}", text, labels, registry=self.registry)

    def _tally(self, name: str, text: str, labels: tuple[str, ...]) -> Tally:
        return Tally(f"gateway_{name}", text, labels, self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"gateway_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...], label: str | None = None) -> Histogram:
        return Histogram(f"gateway_{name}", text, bounds, self.registry, label)

    def know(self, upstreams: Iterable[str]) -> None:
        """Begin the upstreams' alarming counters at zero: the first events of a series that appears with them are no
        increase to an alert rule."""
        for name in upstreams:
            self.estimated.labels(name)
            self.unknown_served.labels(name)

    def gaps(self, upstream: str) -> Distribution:
        """The times between output events of one upstream's streams."""
        return self._gaps.of(upstream)

    def count_usage(self, model: str, upstream: str, usage: Usage) -> None:
        for kind, count in (
            ("prompt", usage.prompt_tokens - usage.cached_tokens),
            ("cached", usage.cached_tokens),
            ("completion", usage.completion_tokens),
        ):
            if count:
                self._tokens.add((model, kind), count)
        if usage.estimated:
            self.estimated.labels(upstream).inc()

    def failed(self, record: RequestRecord, error: GatewayError) -> None:
        """A request ends in ``error``, as a status or inside an answer that had begun."""
        record.error, record.fault = error.code or error.type, error.fault.value
        record.error_class = error_class(error)
        self._classes[record.error_class].inc()

    def finished(self, record: RequestRecord) -> None:
        """Count a request that has ended, however it did."""
        seconds = record.seconds = time.perf_counter() - record.started
        self._requests.add((record.path, str(record.status)))
        if record.upstream is None:
            return
        if record.upstream_seconds is not None:
            self.overhead.observe(seconds - record.upstream_seconds - (record.payment_seconds or 0.0))
            self.duration.of(record.upstream).observe(seconds)
        if record.first_byte_seconds is not None:
            self.first_byte.of(record.upstream).observe(record.first_byte_seconds)
        if record.chunks:
            self.chunk.observe(record.own_seconds / record.chunks)

    def measure_process(self) -> None:
        """Set what the operating system knows of this process."""
        spent = resource.getrusage(resource.RUSAGE_SELF)
        seconds = spent.ru_utime + spent.ru_stime
        self._cpu.inc(seconds - self._cpu_seen)
        self._cpu_seen = seconds
        self.memory.set(spent.ru_maxrss * 1024)

    def render(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
        }
        line |= {name: _told(value) for name in FACTS if (value := getattr(record, name, None)) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["at"] = _innermost_frame(record)
        return _encoded(line).decode("ascii")


FACTS = (
    *("payment", "payments", "reason", "state", "status", "token", "network"),
    *("asked", "paid", "due", "seconds", "left"),
)
"""What a line may tell beside its event, by its name in ``extra``."""
_MAX_FACT = 300
_LONG_HEX = re.compile(r"(0x)?[0-9a-fA-F]{32,}")


def _told(value: object) -> object:
    """A reason may be in somebody else's words: no whole address, hash or signature of them, and not all of a long one.
    Amounts of tokens are text, as they are on the wire: they outgrow JSON's numbers."""
    if isinstance(value, int | float) and abs(value) < 1 << 53:
        return value
    return _LONG_HEX.sub(lambda found: f"{found[0][:10]}...", str(value)[: 2 * _MAX_FACT])[:_MAX_FACT]


def _event(record: logging.LogRecord) -> str:
    """The message; of the event loop's only what happened, for it goes on with reprs of whatever was involved."""
    if record.name == "asyncio":
        return _AFTER_WORDS.sub("", record.getMessage()).strip()
    return record.getMessage()


_AFTER_WORDS = re.compile(r"[^A-Za-z ].*", re.DOTALL)


def _encoded(line: dict[str, object] | msgspec.Struct) -> bytes:
    """JSON on one line, in ASCII: no control character of any alphabet reaches a terminal."""
    try:
        encoded = msgspec.json.encode(line)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(line)).encode()
    return encoded if encoded.isascii() else json.dumps(msgspec.to_builtins(line)).encode()


def log_request(record: RequestRecord) -> None:
    """The line of one request, past ``logging``: its record, handlers and locks cost several times the line itself.
    Those of one turn of the event loop are written together.

    A handler attached to the logger ``gateway.requests`` is given the ``RequestRecord`` as the message instead.
    """
    if not _requests_log.isEnabledFor(logging.INFO):
        return
    if _requests_log.handlers:
        _requests_log.info(record)
        return
    values = [*_values(record)]
    for place in _DURATIONS:
        if values[place] is not None:
            values[place] = round(values[place], 6)
    _lines.append(_encoded(_Line(_moment(time.time()), "info", "gateway.requests", "request", *values)))
    if len(_lines) == 1:
        try:
            asyncio.get_running_loop().call_soon(_write_lines)
        except RuntimeError:
            _write_lines()


_lines: list[bytes] = []
"""Of the requests that ended in this turn of the event loop."""


def _write_lines() -> None:
    """In one piece, if a pipe takes it as one: what is longer may be torn by what other workers write."""
    written = b"\n".join([*_lines, b""])
    pieces = [written] if len(written) <= PIPE_BUF else [line + b"\n" for line in _lines]
    _lines.clear()
    for piece in pieces:
        sys.stderr.buffer.write(piece)
        sys.stderr.buffer.flush()


def _moment(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}+00:00"


@lru_cache(maxsize=2)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).replace(tzinfo=None).isoformat()


_requests_log = logging.getLogger("gateway.requests")
_UNLOGGED = frozenset({"started", "own_seconds", "dispatched", "last_output", "answered", "traceparent"})
_RECORD_FIELDS = tuple(name for name in RequestRecord.__struct_fields__ if name not in _UNLOGGED)
_values = attrgetter(*_RECORD_FIELDS)
_DURATIONS = tuple(place for place, name in enumerate(_RECORD_FIELDS) if name.endswith("seconds"))
_Line: Callable[..., msgspec.Struct] = msgspec.defstruct(
    "_Line",
    [*((name, str) for name in ("time", "level", "logger", "event")), *((name, Any, None) for name in _RECORD_FIELDS)],
    omit_defaults=True,
)


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
