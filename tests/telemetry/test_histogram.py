"""The histogram counts and renders like prometheus_client's."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as Reference

from gateway.telemetry.histogram import Histogram

BOUNDS = (0.001, 0.1, 1.0, 30.0)


@given(st.lists(st.floats(0, 1e6) | st.sampled_from(BOUNDS)))
def test_same_exposition_as_the_reference(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram("wait_seconds", "Waiting", BOUNDS, ours, "upstream")
    reference = Reference("wait_seconds", "Waiting", ("upstream",), registry=theirs, buckets=BOUNDS)
    for value in values:
        histogram.labels("openai").observe(value)
        reference.labels("openai").observe(value)
    assert lines(ours) == lines(theirs)


def test_without_a_label() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Histogram("wait_seconds", "Waiting", BOUNDS, ours).observe(0.1)
    Reference("wait_seconds", "Waiting", registry=theirs, buckets=BOUNDS).observe(0.1)
    assert lines(ours) == lines(theirs)


def lines(registry: CollectorRegistry) -> list[str]:
    return sorted(line for line in generate_latest(registry).decode().splitlines() if "_created" not in line)
