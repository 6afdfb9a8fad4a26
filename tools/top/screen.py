"""Render a window of metrics as one frame of tables."""

import math
import time
from collections.abc import Iterable

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tools.top.rates import Window

DOMAINS = {"gateway": "red", "upstream": "yellow", "policy": "cyan", "caller": "dim"}
LATENCIES = (
    ("overhead", "gateway_overhead_seconds"),
    ("first output", "gateway_first_byte_seconds"),
    ("between events", "gateway_inter_event_seconds"),
    ("whole response", "gateway_answer_seconds"),
    ("settlement", "gateway_settlement_seconds"),
)
QUANTILES = (0.5, 0.95, 0.99)


def frame(url: str, window: Window) -> RenderableType:
    """The whole frame. Without a previous scrape it shows totals instead of rates."""
    return Group(
        _headline(url, window),
        Columns([_traffic(window), _errors(window), _latencies(window)]),
        Columns([_upstreams(window), _money(window), _trust(window)]),
    )


def _headline(url: str, window: Window) -> Text:
    now = window.now
    workers, ready = now.total("gateway_workers"), now.total("gateway_workers_ready")
    version = ", ".join(sorted(now.by_label("gateway_workers", "version")))
    line = Text(f"{url}  version {version}  workers {workers:.0f}, ")
    line.append(f"ready {ready:.0f}", "green" if ready == workers else "bold red")
    if lost := now.total("gateway_workers_lost_total"):
        line.append(f", lost {lost:.0f}", "bold red")
    cores = window.rate("gateway_cpu_seconds_total")
    line.append(f"  processors {'-' if cores is None else f'{cores:.2f}'}")
    line.append(f"  memory {now.total('gateway_peak_memory_bytes') / 2**20:.0f} MiB")
    span = window.seconds
    line.append("  since the start" if span is None else f"  last {span:.0f} s", "dim")
    return line


def _traffic(window: Window) -> Panel:
    now = window.now
    return _panel(
        "traffic",
        [
            ("requests", _rate_or_total(window, "gateway_requests_total")),
            *(
                (f"tokens {kind}", _rate_or_total(window, "gateway_tokens_total", kind=kind))
                for kind in ("prompt", "cached", "completion")
            ),
            ("in flight", f"{now.total('gateway_requests_in_flight'):.0f}"),
            ("queued", _highlight_nonzero(now.total("gateway_requests_queued"))),
            ("streams", f"{now.total('gateway_open_streams'):.0f}"),
        ],
    )


def _errors(window: Window) -> Panel:
    """Totals by domain and the classes that occurred, the gateway's first."""
    rows: list[tuple[RenderableType, RenderableType]] = []
    for domain, style in DOMAINS.items():
        rows.append((Text(domain, style), _rate_or_total(window, "gateway_errors_total", domain=domain)))
        rows += [
            (
                Text(f"  {name.removeprefix(f'{domain}_')}", style),
                _rate_or_total(window, "gateway_errors_total", error=name),
            )
            for name in sorted(window.now.by_label("gateway_errors_total", "error"))
            if name.startswith(f"{domain}_") and window.increase("gateway_errors_total", error=name)
        ]
    return _panel("errors", rows)


def _latencies(window: Window) -> Panel:
    table = Table.grid(padding=(0, 2))
    table.add_row("", *(Text(f"p{100 * share:.0f}", "dim", justify="right") for share in QUANTILES))
    for title, histogram in LATENCIES:
        table.add_row(title, *(_duration(window.quantile(share, histogram)) for share in QUANTILES))
    return Panel(table, title="latency")


def _upstreams(window: Window) -> Panel:
    now = window.now
    table = Table.grid(padding=(0, 2))
    table.add_row(*(Text(title, "dim") for title in ("", "connections", "answers", "errors", "p50", "circuit")))
    for name in sorted(now.by_label("gateway_upstream_connections", "upstream")):
        open_in = now.total("gateway_upstream_breaker_open", upstream=name)
        table.add_row(
            name,
            f"{now.total('gateway_upstream_connections', upstream=name):.0f}",
            _rate_or_total(window, "gateway_answer_seconds_count", upstream=name),
            _rate_or_total(window, "gateway_upstream_errors_total", upstream=name),
            _duration(window.quantile(0.5, "gateway_answer_seconds", upstream=name)),
            Text(f"open in {open_in:.0f}", "bold red") if open_in else Text("closed", "green"),
        )
    return Panel(table, title="upstreams")


def _money(window: Window) -> Panel:
    now = window.now
    settlements = now.by_label("gateway_settlements_total", "outcome")
    rows: list[tuple[RenderableType, RenderableType]] = [
        (name, _rate_or_total(window, "gateway_settlements_total", outcome=name)) for name in settlements
    ]
    rows += [
        (f"refused: {reason}", _rate_or_total(window, "gateway_payments_refused_total", reason=reason))
        for reason in sorted(now.by_label("gateway_payments_refused_total", "reason"))
        if window.increase("gateway_payments_refused_total", reason=reason)
    ]
    rows += [
        (f"price of {token}", _duration(age))
        for token, age in sorted(now.by_label("gateway_price_age_seconds", "token").items())
    ]
    if settlements:
        rows.append(("in progress", f"{now.total('gateway_payment_tasks'):.0f}"))
    return _panel("payments", rows or [("payments", "off")])


def _trust(window: Window) -> Panel:
    now = window.now
    last = now.maximum("gateway_heartbeat_last_success_seconds")
    beats = now.by_label("gateway_heartbeats_total", "outcome")
    never = math.inf if beats else None
    return _panel(
        "trust",
        [
            *(
                (f"heartbeats {outcome}", _rate_or_total(window, "gateway_heartbeats_total", outcome=outcome))
                for outcome in sorted(beats)
            ),
            ("since the last heartbeat", _duration(time.time() - last if last else never)),
            ("clock uncertainty", _duration(now.maximum("gateway_clock_uncertainty_seconds"))),
        ],
    )


def _panel(title: str, rows: Iterable[tuple[RenderableType, RenderableType]]) -> Panel:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    return Panel(table, title=title)


def _rate_or_total(window: Window, name: str, **where: str) -> str:
    """The rate per second, or the total without a previous scrape."""
    rate = window.rate(name, **where)
    return f"{window.increase(name, **where):.0f}" if rate is None else f"{rate:.1f}/s"


def _highlight_nonzero(value: float) -> Text:
    return Text(f"{value:.0f}", "bold yellow" if value else "")


def _duration(seconds: float | None) -> Text:
    if seconds is None:
        return Text("-", "dim", justify="right")
    if seconds == math.inf:
        return Text("never", "bold red", justify="right")
    for limit, scale, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if seconds < limit:
            return Text(f"{seconds * scale:.3g} {unit}", justify="right")
    return Text(f"{seconds / 60:.0f} min", justify="right")
