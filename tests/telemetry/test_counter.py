"""Counters in Prometheus's text format."""

from prometheus_client import CollectorRegistry, generate_latest

from gateway.telemetry.counter import LabeledCounter


def test_counts_add_up_by_label() -> None:
    registry = CollectorRegistry()
    counter = LabeledCounter("gateway_things", "Things", ("path", "status"), registry)
    counter.add(("/a", "200"))
    counter.add(("/a", "200"), 2)
    counter.add(("/b", "404"))
    assert registry.get_sample_value("gateway_things_total", {"path": "/a", "status": "200"}) == 3
    assert registry.get_sample_value("gateway_things_total", {"path": "/b", "status": "404"}) == 1
    assert registry.get_sample_value("gateway_things_total", {"path": "/b", "status": "200"}) is None


def test_it_is_a_counter_before_anything_was_counted() -> None:
    registry = CollectorRegistry()
    LabeledCounter("gateway_things", "Things", ("path",), registry)
    assert generate_latest(registry) == b"# HELP gateway_things_total Things\n# TYPE gateway_things_total counter\n"
