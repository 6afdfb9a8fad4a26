"""The gateway's Prometheus metrics."""

import re
import resource
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest

from gateway import __version__
from gateway.openai_api.error_classes import CLASSES, error_class
from gateway.openai_api.errors import Fault, GatewayError
from gateway.openai_api.usage import Usage
from gateway.telemetry.counter import LabeledCounter
from gateway.telemetry.histogram import Distribution, Histogram
from gateway.telemetry.request_record import RequestRecord

_CHUNK_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_OVERHEAD_BUCKETS = (*_CHUNK_BUCKETS, 10, 30, 120)
"""Up to the longest waits, in the queue and for a client's body."""
_REQUEST_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_EVENT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 60, 120)
WORKERS_LOST, LOST_TEXT = "workers_lost", "Processes that ended and were replaced"
"""Zero in each process: the supervisor counts them (``gateway.workers.metrics``)."""
_MAX_CODE = 64
_CODE = re.compile(r"(?!\S*[0-9a-fA-F]{32})[\w.-]+", re.ASCII)
disable_created_metrics()  # type: ignore[no-untyped-call]  # timestamps do not add up over workers


class Metrics:
    """All metrics, in a registry of their own. docs/monitoring.md is generated from it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._labeled("requests", "Answered requests", ("path", "status"))
        self._errors = self._counter("errors", "Failed requests by class and domain", ("domain", "error"))
        self._classes = {name: self._errors.labels(name.partition("_")[0], name) for name in CLASSES}
        self._upstream_errors = self._labeled(
            "upstream_errors", "Failed requests of the domain upstream", ("upstream", "error")
        )
        self._tokens = self._labeled("tokens", "Metered tokens", ("model", "kind"))
        self.estimated = self._counter("estimated_answers", "Responses with estimated usage", ("upstream",))
        self.unknown_served = self._counter(
            "unknown_served_models", "Responses by a model that is not in the catalogue", ("upstream",)
        )
        self._cpu = self._counter("cpu_seconds", "CPU time of all workers", ())
        self._cpu_seen = 0.0
        self.overhead = self._histogram(
            "overhead_seconds", "Gateway time of a request, excluding upstream and payment", _OVERHEAD_BUCKETS
        )
        self.chunk = self._histogram(
            "chunk_seconds", "Gateway time per batch of stream events, mean of a stream", _CHUNK_BUCKETS
        )
        self.duration = self._histogram(
            "answer_seconds", "Time from a model request to the end of its response", _REQUEST_BUCKETS, "upstream"
        )
        self.first_byte = self._histogram(
            "first_byte_seconds", "Time to a stream's first output", _REQUEST_BUCKETS, "upstream"
        )
        self._inter_event = self._histogram(
            "inter_event_seconds", "Time between a stream's output events", _EVENT_BUCKETS, "upstream"
        )
        self._gauge("workers", "Serving processes", ("version",)).labels(__version__).set(1)
        self._counter(WORKERS_LOST, LOST_TEXT, ())
        self.ready = self._gauge("workers_ready", "Processes ready for new work", ())
        self.memory = self._gauge("peak_memory_bytes", "Peak resident size, summed over all workers", ())
        self.in_flight = self._gauge("requests_in_flight", "Requests being served", ())
        self.queued = self._gauge("requests_queued", "Requests waiting for admission", ())
        self.streams = self._gauge("open_streams", "Streams being written", ())
        self.connections = self._gauge("upstream_connections", "Upstream connections in use", ("upstream",))
        self.breakers = self._gauge(
            "upstream_breaker_open", "Workers with an open circuit breaker for a model of the upstream", ("upstream",)
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"gateway_{name}", text, labels, registry=self.registry)

    def _labeled(self, name: str, text: str, labels: tuple[str, ...]) -> LabeledCounter:
        return LabeledCounter(f"gateway_{name}", text, labels, self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"gateway_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...], label: str | None = None) -> Histogram:
        return Histogram(f"gateway_{name}", text, bounds, self.registry, label)

    def initialize(self, upstreams: Iterable[str]) -> None:
        """Create the upstreams' alerting counts at zero.

        A series that appears with its first event is not an increase to an alert rule.
        """
        for name in upstreams:
            self.estimated.labels(name)
            self.unknown_served.labels(name)
            self.duration.labels(name)
            for class_ in CLASSES:
                if class_.startswith(Fault.UPSTREAM):
                    self._upstream_errors.add((name, class_), 0)

    def inter_event(self, upstream: str) -> Distribution:
        """Times between the output events of one upstream's streams."""
        return self._inter_event.labels(upstream)

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

    def count_failure(self, record: RequestRecord, error: GatewayError) -> None:
        """Record that a request fails with ``error``, sent as a status or inside a response under way."""
        record.error, record.fault = _code(error) or error.type, error.fault.value
        record.error_class = error_class(error)
        record.upstream_status, record.attempts = error.upstream_status, error.attempts
        record.upstream_request_id = error.upstream_request_id or record.upstream_request_id
        self._classes[record.error_class].inc()
        if error.fault is Fault.UPSTREAM and record.upstream is not None:
            self._upstream_errors.add((record.upstream, record.error_class))

    def count_request(self, record: RequestRecord) -> None:
        """Record a request that has ended, successfully or not."""
        seconds = record.seconds = time.perf_counter() - record.started
        self._requests.add((record.path, str(record.status)))
        if record.upstream is None:
            return
        if record.upstream_seconds is not None:
            self.overhead.observe(seconds - record.upstream_seconds - (record.payment_seconds or 0.0))
            self.duration.labels(record.upstream).observe(seconds)
        if record.first_byte_seconds is not None:
            self.first_byte.labels(record.upstream).observe(record.first_byte_seconds)
        if record.chunks:
            self.chunk.observe(record.own_seconds / record.chunks)

    def update_process(self) -> None:
        """Update CPU time and peak memory of this process."""
        spent = resource.getrusage(resource.RUSAGE_SELF)
        seconds = spent.ru_utime + spent.ru_stime
        self._cpu.inc(seconds - self._cpu_seen)
        self._cpu_seen = seconds
        self.memory.set(spent.ru_maxrss * 1024)

    def render(self) -> bytes:
        """All metrics in Prometheus' exposition format."""
        return generate_latest(self.registry)


def _code(error: GatewayError) -> str | None:
    """The leading word of the code, which a vendor or facilitator may have written; None if it is long hexadecimal."""
    found = _CODE.match((error.code or "")[:_MAX_CODE])
    return found and found[0]
