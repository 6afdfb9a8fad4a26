"""Aggregates the metrics of several processes.

Counters and gauges are summed, except gauges in seconds (ages, timestamps, uncertainties): their largest value counts.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest

from gateway.telemetry.metrics import LOST_TEXT, WORKERS_LOST

Snapshot = list[list[Any]]
"""Families as ``[name, documentation, type, [[sample name, {label: value}, value], ...]]``.

Values are strings, because JSON has no infinity.
"""
_Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""By sample name and labels."""
_ONE_LOST = [f"gateway_{WORKERS_LOST}", LOST_TEXT, "counter", [[f"gateway_{WORKERS_LOST}_total", {}, "1.0"]]]


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """All metrics of this process, JSON-serializable."""
    return [
        [
            family.name,
            family.documentation,
            family.type,
            [[sample.name, sample.labels, repr(float(sample.value))] for sample in family.samples],
        ]
        for family in registry.collect()
    ]


class ClusterMetrics:
    """The latest snapshots of all workers, and the counts of those that have ended.

    A sum that decreased when a worker ended would look like a counter reset, and Prometheus would count the rest again.
    """

    def __init__(self) -> None:
        self._latest: dict[int, Snapshot] = {}
        self._ended: Snapshot = []

    def update(self, worker: int, snapshot: Snapshot) -> None:
        self._latest[worker] = snapshot

    def remove(self, worker: int, *, lost: bool) -> None:
        """Forget an ended worker's gauges, keep its counts, and count the worker itself if it is ``lost``."""
        counts = [family for family in self._latest.pop(worker, []) if family[2] != "gauge"]
        if lost:
            counts.append(_ONE_LOST)
        self._ended = merged(self._ended, counts)

    def total(self) -> Snapshot:
        return merged(self._ended, *self._latest.values())


def merged(*snapshots: Snapshot) -> Snapshot:
    """All aggregated, sample by sample."""
    families: dict[str, tuple[str, str, _Values]] = {}
    for snapshot in snapshots:
        for name, text, kind, samples in snapshot:
            values = families.setdefault(name, (text, kind, {}))[2]
            merge = max if kind == "gauge" and name.endswith("_seconds") else float.__add__
            for sample, labels, value in samples:
                key = sample, tuple(labels.items())
                values[key] = merge(values[key], float(value)) if key in values else float(value)
    return [
        [name, text, kind, [[sample, dict(labels), repr(value)] for (sample, labels), value in values.items()]]
        for name, (text, kind, values) in families.items()
    ]


def render(total: Snapshot) -> bytes:
    """``total`` in Prometheus' exposition format."""
    return generate_latest(_SnapshotRegistry(total))


class _SnapshotRegistry(CollectorRegistry):
    """A registry whose content is a snapshot."""

    def __init__(self, total: Snapshot) -> None:
        super().__init__()
        self._total = total

    def collect(self) -> Iterator[Metric]:
        for name, text, kind, samples in self._total:
            family = Metric(name, text, kind)
            for sample, labels, value in samples:
                family.add_sample(sample, labels, float(value))
            yield family
