"""Metrics of several processes as those of one gateway: the sums."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest

Dump = list[list[Any]]
"""Families as ``[name, documentation, type, [[sample name, {label: value}, value], ...]]``."""


def dump(registry: CollectorRegistry) -> Dump:
    """All of one process, fit for JSON."""
    return [
        [
            family.name,
            family.documentation,
            family.type,
            [[sample.name, sample.labels, sample.value] for sample in family.samples],
        ]
        for family in registry.collect()
    ]


def added(first: Dump, second: Dump) -> Dump:
    """Both together, sample by sample."""
    families = {name: [name, text, kind, list(samples)] for name, text, kind, samples in first}
    for name, text, kind, samples in second:
        known = families.setdefault(name, [name, text, kind, []])
        known[3] = _added_samples(known[3], samples)
    return list(families.values())


def _added_samples(first: Iterable[list[Any]], second: Iterable[list[Any]]) -> list[list[Any]]:
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for name, labels, value in (*first, *second):
        key = (name, tuple(labels.items()))
        sums[key] = sums.get(key, 0.0) + value
    return [[name, dict(labels), value] for (name, labels), value in sums.items()]


def render(total: Dump) -> bytes:
    """The exposition format of Prometheus."""
    return generate_latest(_Collected(total))


class _Collected(CollectorRegistry):
    """A registry that holds what was collected elsewhere."""

    def __init__(self, total: Dump) -> None:
        super().__init__()
        self._total = total

    def collect(self) -> Iterator[Metric]:
        for name, text, kind, samples in self._total:
            family = Metric(name, text, kind)
            for sample, labels, value in samples:
                family.add_sample(sample, labels, value)
            yield family
