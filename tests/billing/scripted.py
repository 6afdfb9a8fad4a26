"""Settlements whose facilitator, chain and clock follow a script."""

from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from gateway.billing.journal import Entry, IllegalTransitionError, State
from gateway.billing.outcome import Outcome
from gateway.billing.payment_metrics import PaymentMetrics
from gateway.billing.settlement import Settlements
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.x402 import ForwardedPayment
from tests.billing.entries import FUNDED, entry
from tests.billing.harness import quick
from tests.clocks import Clock


class Script:
    """Facilitator and evidence in one: ``answers`` in turn, the last for ever; ``seen`` is the chain's word."""

    def __init__(self, *answers: Outcome) -> None:
        self.answers = list(answers)
        self.asked: list[int | None] = []
        self.followed: list[str] = []
        self.seen: Outcome | None = None

    async def settle(self, payment: ForwardedPayment, amount: int | None, usage: dict[str, Any]) -> Outcome:
        self.asked.append(amount)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def poll_job(self, job: str, network: str) -> Outcome:
        self.followed.append(job)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def check(self, entry: Entry, outcome: Outcome, *, first: bool) -> Outcome:
        return outcome

    async def look_up(self, entry: Entry) -> Outcome | None:
        return self.seen


def settlements(store: SqliteStore, script: Any, clock: Clock, hold: float = 2.0) -> Settlements:
    times = quick(settlement={"hold_seconds": hold, "retry_seconds": 0.01})
    return Settlements(store, script, script, times, clock, PaymentMetrics(CollectorRegistry()))


async def serving(store: SqliteStore, **changes: Any) -> Entry:
    payment = entry(owner=store.owner, deadline=1000, **changes)
    await store.claim(payment, FUNDED)
    return await store.move(payment, State.VERIFIED, State.SERVING)


async def final(store: SqliteStore, payment: Entry) -> Entry:
    """The entry as it ended: an end leads nowhere."""
    with pytest.raises(IllegalTransitionError) as refused:
        await store.move(payment, State.RESERVED)
    return msgspec.structs.replace(entry(), state=refused.value.origin)
