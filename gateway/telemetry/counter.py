"""Counters for single-threaded use: an increment is an addition and takes no lock."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class LabeledCounter(Collector):
    """A counter with one value per combination of ``labels``."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._name = name
        self._text = text
        self._labelnames = labels
        self._counts: dict[tuple[str, ...], float] = {}
        registry.register(self)

    def add(self, values: tuple[str, ...], amount: float = 1.0) -> None:
        """Increment the counter with these label ``values``."""
        self._counts[values] = self._counts.get(values, 0.0) + amount

    def describe(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._text, labels=self._labelnames)

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labelnames)
        for values, count in self._counts.items():
            family.add_metric(list(values), count)
        yield family
