"""What payments count, from a closed list of reasons."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.billing import refusals
from gateway.billing.journal import Entry, State
from gateway.billing.outcome import Outcome, Settled, Unknown
from gateway.billing.payment_metrics import PaymentMetrics, refusal_reason
from gateway.billing.settlement import Settlements
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.openai_api.errors import GatewayError
from tests.billing.entries import FUNDED, entry
from tests.billing.harness import quick


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> PaymentMetrics:
    return PaymentMetrics(registry)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("insufficient_funds", "funds"),
        ("permit2_allowance_required", "funds"),
        ("invalid_exact_evm_insufficient_balance", "funds"),
        ("invalid_exact_evm_payload_signature", "signature"),
        ("invalid_signature", "signature"),
        ("invalid_exact_evm_nonce_already_used", "already_used"),
        ("payment_already_used", "already_used"),
        ("payment_in_flight", "already_used"),
        ("permit2_deadline_expired", "expired"),
        ("invalid_exact_evm_payload_authorization_valid_before", "expired"),
        ("quote_expired", "expired"),
        ("quote_too_small", "terms"),
        ("invalid_payment_requirements", "terms"),
        ("upto_facilitator_mismatch", "terms"),
        ("invalid_payment", "malformed"),
        ("upfront_required", "owes"),
        ("too_much_unsettled", "unsettled"),
        ("payments_unavailable", "unavailable"),
        ("somebodys_poem", "other"),
    ],
)
def test_reason_of_a_refusal(code: str, reason: str) -> None:
    assert refusal_reason(code) == reason


def test_tasks_of_all_configurations_are_counted(metrics: PaymentMetrics, registry: CollectorRegistry) -> None:
    metrics.watch_tasks(lambda: 2)
    metrics.watch_tasks(lambda: 3)
    assert registry.get_sample_value("gateway_payment_tasks") == 5


def test_no_payment_is_no_refusal(metrics: PaymentMetrics, registry: CollectorRegistry) -> None:
    metrics.refused(GatewayError("", code="payment_required"))
    metrics.refused(refusals.payment_in_flight(State.SERVING))
    refused = {
        sample.labels["reason"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "gateway_payments_refused_total" and sample.value
    }
    assert refused == {"already_used": 1.0}


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        (entry(state=State.SETTLED), "settled"),
        (entry(state=State.FAILED, note="insufficient_funds"), "refused"),
        (entry(state=State.FAILED, note="unresolved: the facilitator is away"), "unresolved"),
    ],
)
def test_outcomes_and_lags(metrics: PaymentMetrics, registry: CollectorRegistry, after: Entry, outcome: str) -> None:
    pending = entry(state=State.PENDING, updated=after.updated - 7.0)
    metrics.ended(pending, after, 9.0)
    assert registry.get_sample_value("gateway_settlements_total", {"outcome": outcome}) == 1
    assert registry.get_sample_value("gateway_settlement_seconds_sum") == 9.0
    assert registry.get_sample_value("gateway_settlement_pending_seconds_sum") == pytest.approx(7.0)


def test_a_settlement_that_another_worker_began(metrics: PaymentMetrics, registry: CollectorRegistry) -> None:
    metrics.ended(entry(state=State.SETTLING), entry(state=State.SETTLED), None)
    assert registry.get_sample_value("gateway_settlement_seconds_count") == 0
    assert registry.get_sample_value("gateway_settlement_pending_seconds_count") == 0
    assert registry.get_sample_value("gateway_settlements_total", {"outcome": "settled"}) == 1


def test_gauges_follow_whoever_is_watched_last(metrics: PaymentMetrics, registry: CollectorRegistry) -> None:
    for age in (math.inf, 12.0):
        metrics.watch_price("opg", lambda age=age: age)  # type: ignore[misc]
    assert registry.get_sample_value("gateway_price_age_seconds", {"token": "opg"}) == 12.0


class UnknownAtFirst:
    """A facilitator that loses its first answer, and a chain that shows nothing."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = [Unknown("no answer"), Unknown("no answer"), Settled("0xab")]

    async def settle(self, *arguments: Any) -> Outcome:
        return self.outcomes.pop(0)

    async def check(self, entry: Entry, outcome: Outcome, *, first: bool) -> Outcome:
        return outcome

    async def look_up(self, entry: Entry) -> None:
        return None


async def test_a_settlement_is_metered(metrics: PaymentMetrics, registry: CollectorRegistry, tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "journal.db")
    payment = entry(owner=store.owner)
    await store.claim(payment, FUNDED)
    await store.move(payment, State.VERIFIED, State.SERVING)
    script: Any = UnknownAtFirst()
    definitions = quick(settlement={"hold_seconds": 5.0, "retry_seconds": 0.01})
    service = Settlements(store, script, script, definitions, time.time, metrics)
    metrics.watch_tasks(lambda: service.task_count)
    await service.settle(payment, amount=7)
    assert registry.get_sample_value("gateway_payment_tasks") == 1
    await service.drain(10)
    await store.close()
    assert registry.get_sample_value("gateway_payment_tasks") == 0
    assert registry.get_sample_value("gateway_settlements_total", {"outcome": "settled"}) == 1
    assert registry.get_sample_value("gateway_settlements_pending_total") == 1
    assert registry.get_sample_value("gateway_settlement_seconds_count") == 1
    assert (registry.get_sample_value("gateway_settlement_seconds_sum") or 0) > 0.1
    assert registry.get_sample_value("gateway_settlement_pending_seconds_count") == 1
