"""One look at a gateway's metrics."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from prometheus_client.parser import text_string_to_metric_families

MAX_BYTES = 16 * 1024 * 1024
# Metrics are told to the gateway's own host, which no proxy is.
_DIRECT = build_opener(ProxyHandler({}))
Labels = tuple[tuple[str, str], ...]


class UnreachableError(Exception):
    """The metrics could not be had; the text is the one line that the operator sees."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """Samples by name and labels at a ``moment`` of a monotonic clock."""

    moment: float
    samples: dict[str, dict[Labels, float]] = field(repr=False)

    def each(self, name: str, label: str) -> dict[str, float]:
        """The values of a metric by one of its labels, added up over the others."""
        values: dict[str, float] = {}
        for labels, value in self.samples.get(name, {}).items():
            key = dict(labels).get(label, "")
            values[key] = values.get(key, 0.0) + value
        return values

    def total(self, name: str, **where: str) -> float:
        """The sum of a metric over all series that have the labels ``where``."""
        return sum(
            value for labels, value in self.samples.get(name, {}).items() if where.items() <= dict(labels).items()
        )

    def largest(self, name: str) -> float | None:
        """Of all series; None without any."""
        return max(self.samples.get(name, {}).values(), default=None)


def read(text: str, moment: float) -> Scrape:
    """A scrape from Prometheus' text format. Raises UnreachableError when it is something else."""
    samples: dict[str, dict[Labels, float]] = {}
    try:
        for name, labels, value in _samples(text):
            samples.setdefault(name, {})[labels] = value
    except (ValueError, KeyError, IndexError) as error:
        raise UnreachableError(f"the answer is not in Prometheus' format: {error}") from None
    if "gateway_workers" not in samples:
        raise UnreachableError("these are not the metrics of a gateway")
    return Scrape(moment, samples)


def fetch(url: str, moment: float) -> Scrape:
    """The metrics of the gateway at ``url``. Raises UnreachableError."""
    request = Request(url.rstrip("/") + "/metrics", headers={"Accept": "text/plain"})  # noqa: S310 - checked by the caller
    try:
        with _DIRECT.open(request, timeout=5) as response:
            body: bytes = response.read(MAX_BYTES)
    except URLError as error:
        raise UnreachableError(f"{url} gives no metrics: {error.reason}") from None
    except (OSError, HTTPException, UnicodeError) as error:
        raise UnreachableError(f"{url} gives no metrics: {error}") from None
    return read(body.decode("utf-8", "replace"), moment)


def _samples(text: str) -> Iterator[tuple[str, Labels, float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, tuple(sorted(sample.labels.items())), float(sample.value)
