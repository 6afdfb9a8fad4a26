"""``python -m tools.metrics_page``: print the table of metrics in docs/monitoring.md, generated from the registry."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from gateway.billing.payment_metrics import PaymentMetrics
from gateway.clock import Clock
from gateway.heartbeat import Heartbeat
from gateway.openai_api.error_classes import CLASSES
from gateway.signing import Signer
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracer

BEGIN, END = "<!-- metrics: begin -->\n", "<!-- metrics: end -->\n"


@dataclass(frozen=True, slots=True)
class Documented:
    """One metric; the name of a histogram is without ``_bucket``, ``_sum`` and ``_count``."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    def samples(self) -> tuple[str, ...]:
        """The sample names that a query may use."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


def full_registry() -> CollectorRegistry:
    """All metrics of a gateway with payments, heartbeat and traces."""
    metrics = Metrics()
    clock = Clock()
    clock.register(metrics.registry)
    Heartbeat(Signer(), clock, metrics.registry)
    PaymentMetrics(metrics.registry)
    Tracer("http://127.0.0.1:4318", metrics.registry)
    return metrics.registry


def documented() -> Iterator[Documented]:
    """All metrics, in order of registration."""
    for collector in full_registry()._collector_to_names:
        labels = tuple(getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            name = family.name + ("_total" if family.type == "counter" else "")
            yield Documented(name, family.type, labels, family.documentation)


def table() -> str:
    """The part of the page between the two markers."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {' '.join(f'`{label}`' for label in metric.labels)} | {metric.text} |"
        for metric in documented()
    ]
    classes = ", ".join(f"`{name}`" for name in CLASSES)
    return (
        "| metric | kind | labels | |\n| --- | --- | --- | --- |\n"
        + "\n".join(rows)
        + f"\n\nClasses of `gateway_errors_total`: {classes}.\n"
    )


if __name__ == "__main__":
    sys.stdout.write(table())
