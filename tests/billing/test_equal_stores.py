"""The same random steps lead to the same answers and the same books in every kind of store."""

import random
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.billing.claims import ClaimPolicy
from gateway.billing.definitions import bundled
from gateway.billing.journal import TRANSITIONS, Entry, State
from gateway.billing.storage.postgres_store import PostgresStore
from gateway.billing.storage.sealed_store import SealedStore
from gateway.billing.storage.sink import FileSink
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import Store
from tests.billing import postgres
from tests.billing.entries import entry

NOW = int(time.time())
POLICIES = [ClaimPolicy(bundled().exposure, funds_known=known) for known in (True, False)]
PAYERS = [bytes([number]) * 20 for number in (1, 2)]
ENDED = (State.SERVING, State.SETTLING, State.FAILED, State.WAIVED, State.SETTLED, State.SERVED)

Work = Callable[[Store, Entry], Awaitable[Any]]


class Workers:
    """Two workers of each kind of store, and their copies of the same payments."""

    def __init__(self, openers: list[Callable[[], Awaitable[Store]]], dice: random.Random) -> None:
        self.openers = openers
        self.dice = dice
        self.stores: list[list[Store]] = []
        self.payments: list[list[Entry]] = []

    async def open(self) -> None:
        self.stores = [[await opened(), await opened()] for opened in self.openers]

    async def replace(self, worker: int) -> None:
        for stores, opened in zip(self.stores, self.openers, strict=True):
            await stores[worker].close()
            stores[worker] = await opened()

    async def same(self, worker: int, payment: list[Entry], work: Work) -> None:
        """Do it in every store; the answers are the same, and entries among them the payment's new copies."""
        seen = []
        for kind, stores in enumerate(self.stores):
            try:
                answer = await work(stores[worker], payment[kind])
            except Exception as error:
                answer = type(error).__name__, getattr(error, "origin", None)
            if isinstance(answer, Entry):
                payment[kind] = answer
            seen.append(sorted(map(shown, answer)) if isinstance(answer, list) else shown(answer))
        assert seen == [seen[0]] * len(seen)

    async def step(self) -> None:
        dice = self.dice
        worker, payment = dice.randrange(2), dice.choice(self.payments or [self.new()])
        match dice.choice(["claim", "again", "move", "move", "move", "credit", "settle"]):
            case "move":
                to, changes = self.way(payment[0])
                await self.same(worker, payment, lambda store, known: store.move(known, *to, **changes))
            case "again":
                await self.claim(worker, payment)
            case kind:
                payment = self.new()
                self.payments.append(payment)
                await self.claim(worker, payment)
                if kind == "credit":
                    await self.same(worker, payment, lambda store, known: store.take_credit(known))
                elif kind == "settle":
                    await self.settle(worker, payment)
        await self.same(1 - worker, payment, lambda store, known: store.find(known))

    async def settle(self, worker: int, payment: list[Entry]) -> None:
        """Settle it by a transfer that may be another payment's, or fail for its payer's fault."""
        paid = {"transaction": self.dice.choice(["0xab", "0xcd"]), "settled_amount": self.dice.choice([1, 2])}
        matches, fails = self.dice.choice([1, 2]), self.dice.random() < 0.3
        await self.same(worker, payment, lambda store, known: store.move(known, State.SETTLING, amount=3))
        if fails:
            await self.same(worker, payment, lambda store, known: store.move(known, State.FAILED, payers_fault=True))
        else:
            await self.same(worker, payment, lambda store, known: store.reconcile(known, matches=matches, **paid))

    async def spend(self) -> None:
        """Use up the credit that is left."""
        for _ in range(40):
            payment = self.new()
            await self.claim(0, payment)
            await self.same(1, payment, lambda store, known: store.take_credit(known))

    def new(self) -> list[Entry]:
        dice = self.dice
        made = entry(
            payer=dice.choice(PAYERS),
            cap=dice.choice([5, 7]),
            cap_usd=Decimal(dice.choice(["0.01", "0.9"])),
            deadline=NOW + dice.choice([-400, -5, 600]),
            upfront=dice.random() < 0.5,
        )
        return [made] * len(self.openers)

    async def claim(self, worker: int, payment: list[Entry]) -> None:
        policy = self.dice.choice(POLICIES)
        fresh = {"state": State.RESERVED, "amount": None, "note": "", "by_credit": False, "credited": 0}
        await self.same(
            worker,
            payment,
            lambda store, known: store.claim(msgspec.structs.replace(known, owner=store.owner, **fresh), policy),
        )

    def way(self, payment: Entry) -> tuple[list[State], dict[str, Any]]:
        """One or two states ahead, mostly legal, with the changes that go with the last."""
        to = [self.dice.choice(sorted(TRANSITIONS[payment.state]) or list(State))]
        if self.dice.random() < 0.5:
            to.append(self.dice.choice(sorted(TRANSITIONS[to[0]]) or list(State)))
        changes: dict[str, Any] = {"amount": 3} if State.SETTLING in to else {}
        if to[-1] is State.SERVED or (payment.by_credit and to[-1] in (State.WAIVED, State.RELEASED)):
            changes["credited"] = payment.cap
        return to, changes

    async def sweep(self) -> None:
        """What is done to all payments at once."""
        worker, now = self.dice.randrange(2), NOW + self.dice.choice([0, 700])
        ended = [
            entry(payer=PAYERS[0], state=state, upfront=True, cap=5, amount=3, credited=5, updated=NOW - 9.0)
            for state in self.dice.sample(ENDED, 2)
        ]
        await self.replace(1 - worker)
        for work in (
            lambda store, _: store.restore(ended),
            lambda store, _: store.adopt(now),
            lambda store, _: store.prune(NOW - 100, NOW),
        ):
            await self.same(worker, self.new(), work)
        for payment in self.payments:
            await self.same(worker, payment, lambda store, known: store.find(known))


def shown(answer: Any) -> Any:
    """An answer without what differs between stores: owners and times."""
    if not isinstance(answer, Entry):
        return answer
    return (answer.key, answer.state, answer.amount, answer.transaction, answer.by_credit, answer.credited)


@pytest.mark.parametrize("seed", range(4))
async def test_random_steps(database: str, tmp_path: Path, seed: int) -> None:
    await postgres.empty(database)

    async def sealed() -> Store:
        return SealedStore(await SqliteStore.open(tmp_path / "sealed.db"), FileSink(tmp_path / "sink"), b"j" * 32)

    workers = Workers(
        [
            lambda: SqliteStore.open(tmp_path / "journal.db"),
            lambda: PostgresStore.open(database, grace_seconds=-1.0),
            sealed,
        ],
        random.Random(seed),
    )
    await workers.open()
    for number in range(60):
        await workers.step()
        if number % 20 == 19:
            await workers.sweep()
    await workers.spend()
    for stores in workers.stores:
        for store in stores:
            await store.close()
