"""Metrics of several processes as those of one gateway.

Counts add up. A gauge in seconds is an age, a moment or an uncertainty: of those the largest holds.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest

Dump = list[list[Any]]
"""Families as ``[name, documentation, type, [[sample name, {label: value}, value], ...]]``.

Values are text, because JSON knows no infinity.
"""


def dump(registry: CollectorRegistry) -> Dump:
    """All of one process, fit for JSON."""
    return [
        [
            family.name,
            family.documentation,
            family.type,
            [[sample.name, sample.labels, repr(float(sample.value))] for sample in family.samples],
        ]
        for family in registry.collect()
    ]


class Total:
    """What all workers have counted, those that are gone included, as far as they were last asked.

    A sum that fell when a worker is lost would look like a restart of the gateway, and all that the others had counted
    like news.
    """

    def __init__(self) -> None:
        self._latest: dict[int, Dump] = {}
        self._lost: Dump = []

    def take(self, worker: int, dump: Dump) -> None:
        self._latest[worker] = dump

    def lose(self, worker: int) -> None:
        """The worker is gone: what it counted stays, what it was in the middle of does not."""
        counted = [family for family in self._latest.pop(worker, []) if family[2] != "gauge"]
        self._lost = added(self._lost, counted)

    def dump(self) -> Dump:
        total = self._lost
        for dump in self._latest.values():
            total = added(total, dump)
        return total


def added(first: Dump, second: Dump) -> Dump:
    """Both together, sample by sample."""
    families = {name: [name, text, kind, list(samples)] for name, text, kind, samples in first}
    for name, text, kind, samples in second:
        known = families.setdefault(name, [name, text, kind, []])
        largest = kind == "gauge" and name.endswith("_seconds")
        known[3] = _joined(known[3], samples, max if largest else float.__add__)
    return list(families.values())


def _joined(
    first: Iterable[list[Any]], second: Iterable[list[Any]], join: Callable[[float, float], float]
) -> list[list[Any]]:
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for name, labels, text in (*first, *second):
        key, value = (name, tuple(labels.items())), float(text)
        values[key] = join(values[key], value) if key in values else value
    return [[name, dict(labels), repr(value)] for (name, labels), value in values.items()]


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
                family.add_sample(sample, labels, float(value))
            yield family
