"""Scrape a gateway's metrics."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from prometheus_client.parser import text_string_to_metric_families

from tools.verify.errors import UnreachableError

MAX_BYTES = 16 * 1024 * 1024
_OPENER = build_opener(ProxyHandler({}))
"""Without proxies: metrics are served to the gateway's own host only."""
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Scrape:
    """Samples by name and labels, at ``time`` on a monotonic clock."""

    time: float
    samples: dict[str, dict[Labels, float]] = field(repr=False)

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """The values of a metric by one label, summed over the others."""
        values: dict[str, float] = {}
        for labels, value in self.samples.get(name, {}).items():
            key = dict(labels).get(label, "")
            values[key] = values.get(key, 0.0) + value
        return values

    def total(self, name: str, **where: str) -> float:
        """The sum over all series of a metric with the labels ``where``."""
        return sum(
            value for labels, value in self.samples.get(name, {}).items() if where.items() <= dict(labels).items()
        )

    def maximum(self, name: str) -> float | None:
        """The maximum over all series; None without any."""
        return max(self.samples.get(name, {}).values(), default=None)


def read(text: str, time: float) -> Scrape:
    """Parse Prometheus' text format. Raises UnreachableError for anything else."""
    samples: dict[str, dict[Labels, float]] = {}
    try:
        for name, labels, value in _samples(text):
            samples.setdefault(name, {})[labels] = value
    except (ValueError, KeyError, IndexError) as error:
        raise UnreachableError(f"the response is not in the Prometheus text format: {error}") from None
    if "gateway_workers" not in samples:
        raise UnreachableError("these are not the metrics of a gateway")
    return Scrape(time, samples)


def fetch(url: str, time: float) -> Scrape:
    """Scrape the gateway at ``url``. Raises UnreachableError."""
    request = Request(url.rstrip("/") + "/metrics", headers={"Accept": "text/plain"})  # noqa: S310 - checked by the caller
    try:
        with _OPENER.open(request, timeout=10) as response:
            body: bytes = response.read(MAX_BYTES)
    except URLError as error:
        raise UnreachableError(f"cannot read metrics from {url}: {error.reason}") from None
    except (OSError, HTTPException, UnicodeError) as error:
        raise UnreachableError(f"cannot read metrics from {url}: {error}") from None
    return read(body.decode("utf-8", "replace"), time)


def _samples(text: str) -> Iterator[tuple[str, Labels, float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, tuple(sorted(sample.labels.items())), float(sample.value)
