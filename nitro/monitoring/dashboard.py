"""``python -m nitro.monitoring.dashboard``: print the Grafana dashboard, generated from the table of its panels."""

import json
import sys
from dataclasses import dataclass
from typing import Any

WIDTH = 24
_SELECTOR = '{instance=~"$instance"'
_PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
_VARIABLES: tuple[dict[str, Any], ...] = (
    {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
    {
        "name": "instance",
        "type": "query",
        "label": "Node",
        "datasource": _PROMETHEUS,
        "query": "label_values(gateway_workers, instance)",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    },
)
"""What the viewer chooses above the panels."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph, a third of a row wide.

    ``queries`` are pairs of legend and PromQL, ``unit`` is Grafana's name of the unit.
    ``signed`` shows negative values.
    """

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    stacked: bool = False
    signed: bool = False


def _rate(metric: str, by: str = "", where: str = "") -> str:
    labels = f" by ({by})" if by else ""
    return f"sum{labels} (rate({metric}{_SELECTOR}{where}}}[$__rate_interval]))"


def _quantiles(metric: str, by: str = "") -> tuple[tuple[str, str], ...]:
    legend = f" {{{{{by}}}}}" if by else ""
    labels = f"le, {by}" if by else "le"
    return tuple(
        (f"p{percent}{legend}", f"histogram_quantile(0.{percent}, {_rate(f'{metric}_bucket', labels)})")
        for percent in (50, 95, 99)
    )


def _instant(metric: str, function: str = "sum", by: str = "") -> str:
    labels = f" by ({by})" if by else ""
    return f"{function}{labels} ({metric}{_SELECTOR}}})"


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Traffic",
        (
            Panel("Answers", "reqps", (("{{status}}", _rate("gateway_requests_total", "status")),), stacked=True),
            Panel("Tokens", "short", (("{{kind}}", _rate("gateway_tokens_total", "kind")),), stacked=True),
            Panel("Tokens by model", "short", (("{{model}}", _rate("gateway_tokens_total", "model")),), stacked=True),
            Panel(
                "Requests in progress",
                "short",
                (
                    ("in flight", _instant("gateway_requests_in_flight")),
                    ("queued", _instant("gateway_requests_queued")),
                    ("streams", _instant("gateway_open_streams")),
                ),
            ),
            Panel(
                "Workers",
                "short",
                (
                    ("serving", _instant("gateway_workers")),
                    ("ready", _instant("gateway_workers_ready")),
                    ("lost", f"sum (increase(gateway_workers_lost_total{_SELECTOR}}}[$__rate_interval]))"),
                ),
            ),
            Panel("CPU cores in use", "short", (("cores", _rate("gateway_cpu_seconds_total")),)),
            Panel(
                "Peak memory",
                "bytes",
                (("{{instance}}", _instant("gateway_peak_memory_bytes", by="instance")),),
            ),
        ),
    ),
    (
        "Errors by domain",
        (
            Panel("Errors", "reqps", (("{{domain}}", _rate("gateway_errors_total", "domain")),), stacked=True),
            Panel(
                "Gateway and upstream errors",
                "reqps",
                (("{{error}}", _rate("gateway_errors_total", "error", ',domain=~"gateway|upstream"')),),
            ),
            Panel(
                "Caller and policy errors",
                "reqps",
                (("{{error}}", _rate("gateway_errors_total", "error", ',domain=~"caller|policy"')),),
            ),
        ),
    ),
    (
        "Latency",
        (
            Panel("Gateway overhead", "s", _quantiles("gateway_overhead_seconds")),
            Panel("Time to first output", "s", _quantiles("gateway_first_byte_seconds")),
            Panel("Time between output events", "s", _quantiles("gateway_inter_event_seconds")),
            Panel("Response time by upstream", "s", _quantiles("gateway_answer_seconds", "upstream")[1:2]),
            Panel("Gateway overhead per batch of events", "s", _quantiles("gateway_chunk_seconds")),
        ),
    ),
    (
        "Upstreams",
        (
            Panel(
                "Errors by upstream",
                "reqps",
                (("{{upstream}} {{error}}", f"{_rate('gateway_upstream_errors_total', 'upstream, error')} > 0"),),
            ),
            Panel("Connections", "short", (("{{upstream}}", _instant("gateway_upstream_connections", by="upstream")),)),
            Panel(
                "Workers with an open circuit breaker",
                "short",
                (("{{upstream}}", _instant("gateway_upstream_breaker_open", by="upstream")),),
            ),
            Panel(
                "Irregular responses",
                "short",
                (
                    ("usage estimated, {{upstream}}", _rate("gateway_estimated_answers_total", "upstream")),
                    ("unknown model, {{upstream}}", _rate("gateway_unknown_served_models_total", "upstream")),
                ),
            ),
        ),
    ),
    (
        "Payments",
        (
            Panel("Settlements", "reqps", (("{{outcome}}", _rate("gateway_settlements_total", "outcome")),)),
            Panel("Settlement time", "s", _quantiles("gateway_settlement_seconds")),
            Panel("Unknown outcomes", "reqps", (("settlements", _rate("gateway_settlements_pending_total")),)),
            Panel("Time until an outcome was known", "s", _quantiles("gateway_settlement_pending_seconds")[1:2]),
            Panel("Payments refused", "reqps", (("{{reason}}", _rate("gateway_payments_refused_total", "reason")),)),
            Panel("In progress", "short", (("settlements and releases", _instant("gateway_payment_tasks")),)),
            Panel("Age of prices", "s", (("{{token}}", _instant("gateway_price_age_seconds", "max", "token")),)),
        ),
    ),
    (
        "Trust",
        (
            Panel("Heartbeats", "short", (("{{outcome}}", _rate("gateway_heartbeats_total", "outcome")),)),
            Panel(
                "Time since the last accepted heartbeat",
                "s",
                (
                    (
                        "{{instance}}",
                        f"time() - ({_instant('gateway_heartbeat_last_success_seconds', 'max', 'instance')} > 0)",
                    ),
                ),
            ),
            Panel(
                "Clock",
                "s",
                (
                    ("uncertainty", _instant("gateway_clock_uncertainty_seconds", "max")),
                    ("system clock ahead", _instant("gateway_clock_skew_seconds", "max")),
                    ("behind the chain", _instant("gateway_chain_clock_lag_seconds", "max")),
                ),
                signed=True,
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's JSON model, for ``Dashboards > Import``."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append(
            {"type": "row", "title": title, "id": len(panels) + 1, "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": top}}
        )
        for number, panel in enumerate(row):
            place = {"h": 8, "w": 8, "x": 8 * (number % 3), "y": top + 1 + 8 * (number // 3)}
            panels.append(_graph(panel, len(panels) + 1, place))
        top += 1 + 8 * -(-len(row) // 3)
    return {
        "title": "TEE gateway",
        "uid": "tee-gateway",
        "tags": ["tee-gateway"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": list(_VARIABLES)},
        "panels": panels,
    }


def _graph(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "id": number,
        "gridPos": place,
        "datasource": _PROMETHEUS,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                **({} if panel.signed else {"min": 0}),
                "custom": {"fillOpacity": 15, "stacking": {"mode": "normal" if panel.stacked else "none"}},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "legendFormat": legend, "expr": query}
            for index, (legend, query) in enumerate(panel.queries)
        ],
    }


def page() -> str:
    """The content of dashboard.json."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
