"""Histograms for single-threaded use: an observation is a bisection and two additions, and takes no lock.

Every event of a stream is observed; prometheus_client's own histogram takes five times as long for it.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class Distribution:
    """The observations of one label: ``counts`` per bucket, the last of them unbounded, and the sum as ``total``."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' cumulative buckets: upper bound and number of observations up to it."""
        buckets, count = [], 0
        for bound, here in zip((*self._bounds, math.inf), self.counts, strict=True):
            count += here
            buckets.append(("+Inf" if bound == math.inf else repr(float(bound)), float(count)))
        return buckets


class Histogram(Collector):
    """One distribution, or one per value of ``label``. ``bounds`` are the buckets' upper bounds, ascending."""

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], registry: CollectorRegistry, label: str | None = None
    ) -> None:
        self._name = name
        self._text = text
        self._bounds = tuple(bounds)
        self._labelnames = () if label is None else (label,)
        self._children: dict[str, Distribution] = {} if self._labelnames else {"": Distribution(self._bounds)}
        registry.register(self)

    def labels(self, value: str) -> Distribution:
        """The distribution of the label ``value``, created at first use."""
        child = self._children.get(value)
        if child is None:
            child = self._children[value] = Distribution(self._bounds)
        return child

    def observe(self, value: float) -> None:
        """Observe in a histogram without a label."""
        self._children[""].observe(value)

    def describe(self) -> Iterator[HistogramMetricFamily]:
        yield HistogramMetricFamily(self._name, self._text, labels=self._labelnames)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labelnames)
        for value, child in self._children.items():
            family.add_metric([value] if self._labelnames else [], buckets=child.cumulative(), sum_value=child.total)
        yield family
