"""Prometheus metrics of payments. Reason labels come from a closed list, never from a facilitator's text."""

import re
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.billing.journal import Entry, State
from gateway.openai_api.errors import GatewayError
from gateway.telemetry.counter import LabeledCounter
from gateway.telemetry.histogram import Histogram

_LAG_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
OUTCOMES = ("settled", "refused", "unresolved")
REASONS: tuple[tuple[str, str], ...] = (
    ("malformed", r"invalid_payment$|unsupported_payload_type|payload_format"),
    ("unavailable", r"unavailable|settlement_pending|verification_failed"),
    ("already_used", r"already_used|payment_in_flight|nonce"),
    ("unsettled", r"too_much_unsettled"),
    ("owes", r"upfront_required"),
    ("expired", r"expired|deadline|valid_before|valid_after|not_yet_valid"),
    ("funds", r"insufficient|allowance|balance"),
    ("signature", r"signature|signer"),
    ("terms", r"mismatch|requirements|quote_too_small|scheme|network|asset|facilitator|spender|recipient|amount"),
)
"""Label and pattern of error codes; the first match counts, ``other`` without one."""
UNPAID = "payment_required"


def refusal_reason(code: str) -> str:
    """The ``reason`` label of an error code."""
    return next((name for name, pattern in REASONS if re.search(pattern, code)), "other")


class PaymentMetrics:
    """The payment metrics of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "gateway_payments_refused", "Payments refused, by reason", ("reason",), registry=registry
        )
        self._settlements = LabeledCounter("gateway_settlements", "Settlements by outcome", ("outcome",), registry)
        self._pending = Counter(
            "gateway_settlements_pending", "Settlements whose outcome was unknown at first", registry=registry
        )
        self._lag = Histogram(
            "gateway_settlement_seconds",
            "Time from submitting a response's bill to the end of its settlement",
            _LAG_SECONDS,
            registry,
        )
        self._pending_lag = Histogram(
            "gateway_settlement_pending_seconds", "Time until an unknown outcome was resolved", _LAG_SECONDS, registry
        )
        self._append_failures = Counter(
            "gateway_journal_entries_unkept", "Journal entries that the sink did not accept at once", registry=registry
        )
        self._task_counts: list[Callable[[], float]] = []
        tasks = Gauge("gateway_payment_tasks", "Settlements and releases in progress", registry=registry)
        tasks.set_function(lambda: sum(count() for count in self._task_counts))
        self._clock_lag = Gauge(
            "gateway_chain_clock_lag_seconds", "Lag of the clock behind the chain's latest block", registry=registry
        )
        self._price_age = Gauge(
            "gateway_price_age_seconds",
            "Age of the last accepted reading of a token's price",
            ("token",),
            registry=registry,
        )
        for name in (*(name for name, _ in REASONS), "other"):
            self._refused.labels(name)
        for outcome in OUTCOMES:
            self._settlements.add((outcome,), 0)

    def watch_tasks(self, count: Callable[[], float]) -> None:
        """Add ``count`` to the gauge: earlier configurations settle what they admitted beside the newest."""
        self._task_counts.append(count)

    def watch_clock(self, lag: Callable[[], float]) -> None:
        self._clock_lag.set_function(lag)

    def watch_price(self, token: str, age: Callable[[], float]) -> None:
        """``age`` in seconds, infinite before the first reading."""
        self._price_age.labels(token).set_function(age)

    def refused(self, error: GatewayError) -> None:
        """Count a refused payment; a request without one is not counted."""
        if error.code != UNPAID:
            self._refused.labels(refusal_reason(error.code or "")).inc()

    def journal_append_failed(self) -> None:
        """Count an entry that is not in the sink."""
        self._append_failures.inc()

    def became_pending(self) -> None:
        self._pending.inc()

    def ended(self, before: Entry, after: Entry, seconds: float | None) -> None:
        """Count a settlement that ended ``seconds`` after its start; None if another worker started it."""
        self._settlements.add((_outcome(after),))
        if seconds is not None:
            self._lag.observe(seconds)
        if before.state is State.PENDING:
            self._pending_lag.observe(max(0.0, after.updated - before.updated))


def _outcome(entry: Entry) -> str:
    if entry.state is State.SETTLED:
        return "settled"
    return "unresolved" if entry.reason == "unresolved" else "refused"
