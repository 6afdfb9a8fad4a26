"""Metrics of several workers merged into one gateway's."""

import math

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.histogram import Histogram
from gateway.telemetry.metrics import Metrics
from gateway.workers.metrics import ClusterMetrics, Snapshot, merged, render, snapshot


def worker(requests: int, age: float, seconds: float) -> Snapshot:
    """One process's metrics as received over the channel."""
    registry = CollectorRegistry()
    Counter("served", "Requests", ("path",), registry=registry).labels("/v1").inc(requests)
    Gauge("streams", "Open streams", registry=registry).set(requests)
    Gauge("price_age_seconds", "Age", registry=registry).set(age)
    Histogram("lag_seconds", "Lag", (0.1, 1.0), registry, "upstream").labels("openai").observe(seconds)
    decoded: Snapshot = msgspec.json.decode(msgspec.json.encode(snapshot(registry)))
    return decoded


def values(total: Snapshot) -> dict[str, float]:
    return {
        sample.name + "".join(f"|{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(render(total).decode())
        for sample in family.samples
    }


def test_counts_add_up_and_ages_do_not() -> None:
    seen = values(merged(worker(2, 30.0, 0.05), worker(3, 10.0, 5.0)))
    assert seen["served_total|/v1"] == 5
    assert seen["streams"] == 5
    assert seen["price_age_seconds"] == 30
    assert [seen[f"lag_seconds_bucket|{bound}|openai"] for bound in ("0.1", "1.0", "+Inf")] == [1, 1, 2]
    assert (seen["lag_seconds_count|openai"], seen["lag_seconds_sum|openai"]) == (2, 5.05)


def test_what_never_happened_is_infinitely_old() -> None:
    assert values(merged(worker(1, math.inf, 1.0), worker(1, 1.0, 1.0)))["price_age_seconds"] == math.inf


def test_what_only_one_worker_has_is_kept() -> None:
    registry = CollectorRegistry()
    Counter("rare", "Seldom", registry=registry).inc()
    assert values(merged(worker(1, 1.0, 1.0), snapshot(registry)))["rare_total"] == 1


def test_what_a_lost_worker_counted_stays() -> None:
    metrics = ClusterMetrics()
    metrics.update(1, worker(2, 30.0, 0.05))
    metrics.update(2, worker(3, 10.0, 0.05))
    metrics.remove(1, lost=False)
    metrics.remove(3, lost=False)
    seen = values(metrics.total())
    assert (seen["served_total|/v1"], seen["lag_seconds_count|openai"]) == (5, 2)
    assert (seen["streams"], seen["price_age_seconds"]) == (3, 10)
    metrics.update(4, worker(1, 1.0, 0.05))
    assert values(metrics.total())["served_total|/v1"] == 6
    assert values(metrics.total())["served_total|/v1"] == 6


def test_lost_workers_are_counted_also_those_that_were_never_asked() -> None:
    metrics, worker = ClusterMetrics(), snapshot(Metrics().registry)
    metrics.update(1, worker)
    assert values(metrics.total())["gateway_workers_lost_total"] == 0
    metrics.remove(1, lost=True)
    metrics.remove(2, lost=True)
    metrics.remove(3, lost=False)
    metrics.update(4, worker)
    assert values(metrics.total())["gateway_workers_lost_total"] == 2
