"""Both stores: atomic between requests, workers and processes; complete after a crash."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.billing.claims import AlreadyClaimedError, ExposureExceededError
from gateway.billing.journal import Entry, IllegalTransitionError, State, TransferAlreadyMatchedError
from gateway.billing.storage import postgres_ledger, postgres_store, sqlite_ledger, sqlite_store
from gateway.billing.storage.postgres_store import PostgresStore
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import Store, StoreUnavailableError
from gateway.billing.x402_payment import X402Payment
from tests.billing import postgres
from tests.billing.entries import FUNDED, POLICY, entry, owned_by
from tests.billing.harness import bill, open_harness, order, refusal
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain

REPOSITORY = Path(__file__).parents[2]


async def test_all_workers_know_each_other_s_quotes(store: Store, twin: Store) -> None:
    proposed = [bytes([number]) * 32 for number in range(10)]
    keys = await asyncio.gather(*(each.quote_key(key) for each in (store, twin) for key in proposed))
    assert set(keys) == {keys[0]}
    assert keys[0] in proposed
    assert await twin.quote_key(b"late") == keys[0]


async def test_of_fifty_claims_in_two_workers_one_is_made(store: Store, twin: Store) -> None:
    payment = entry()
    outcomes = await asyncio.gather(
        *(each.claim(owned_by(each, payment), POLICY) for each in [store, twin] * 25), return_exceptions=True
    )
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyClaimedError) for outcome in outcomes) == 49


async def test_claims_of_one_payer_see_those_ahead(store: Store, twin: Store) -> None:
    claims = await asyncio.gather(*(each.claim(entry(cap=7), FUNDED) for each in [store, twin, store, twin, store]))
    assert sorted(claim.outstanding for claim in claims) == [0, 7, 14, 21, 28]


async def test_exposure_is_checked_in_the_claims_own_transaction(store: Store, twin: Store) -> None:
    outcomes = await asyncio.gather(
        *(each.claim(entry(), POLICY) for each in [store, twin] * 10), return_exceptions=True
    )
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 2
    assert sum(isinstance(outcome, ExposureExceededError) for outcome in outcomes) == 18


async def test_moves_are_checked_in_the_store(store: Store, twin: Store) -> None:
    payment = entry()
    await store.claim(payment, POLICY)
    served = await twin.move(payment, State.VERIFIED, State.SERVING)
    assert served.state is State.SERVING
    outcomes = await asyncio.gather(
        store.move(payment, State.SETTLING, amount=5),
        twin.move(payment, State.SETTLING, amount=6),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Entry", "IllegalTransitionError"]
    with pytest.raises(IllegalTransitionError):
        await store.move(payment, State.PENDING, State.SETTLED, State.FAILED)
    assert (await store.move(payment, State.SETTLED)).transaction == ""
    with pytest.raises(LookupError):
        await store.move(entry(), State.RELEASED)


async def test_what_was_claimed_is_found_by_any_worker(store: Store, twin: Store) -> None:
    payment = entry()
    assert await twin.find(payment) is None
    await store.claim(payment, POLICY)
    await store.move(payment, State.SETTLING, amount=5)
    found = await twin.find(payment)
    assert found is not None
    assert (found.key, found.state, found.amount) == (payment.key, State.SETTLING, 5)
    another = entry()
    await store.claim(another, POLICY)
    assert await twin.find_all({entry().key}) == []
    known = await twin.find_all({payment.key, entry().key, another.key})
    assert {each.key: each.state for each in known} == {payment.key: State.SETTLING, another.key: State.RESERVED}


async def test_a_released_payment_can_be_claimed_again_and_a_waived_one_cannot(store: Store) -> None:
    payment = entry()
    await store.claim(payment, POLICY)
    await store.move(payment, State.RELEASED)
    await store.claim(payment, POLICY)
    await store.move(payment, State.VERIFIED, State.SERVING, State.WAIVED)
    with pytest.raises(AlreadyClaimedError):
        await store.claim(payment, POLICY)


async def test_a_payment_that_was_answered_is_used_for_every_worker(store: Store, twin: Store) -> None:
    """A client that presents it again at once gets a new offer, not the 409 of a payment in flight."""
    payment = entry(owner=store.owner)
    await store.claim(payment, POLICY)
    settling = await store.move(payment, State.SETTLING, amount=5)
    with pytest.raises(AlreadyClaimedError) as refused:
        await twin.claim(payment, POLICY)
    assert refused.value.in_use
    await store.defer_move(settling, State.SETTLED)
    with pytest.raises(AlreadyClaimedError) as refused:
        await twin.claim(payment, POLICY)
    assert not refused.value.in_use


async def test_only_finished_payments_past_their_deadline_are_forgotten(store: Store) -> None:
    now = time.time()
    kept, forgotten, serving = entry(), entry(deadline=int(now) - 10), entry(deadline=int(now) - 10)
    for payment in (kept, forgotten, serving):
        await store.claim(payment, FUNDED)
        await store.move(payment, State.VERIFIED, State.SERVING)
    for payment in (kept, forgotten):
        await store.move(payment, State.WAIVED)
    assert await store.prune(now, now) == 1
    assert await store.prune(now, now) == 0
    for payment in (kept, serving):
        with pytest.raises(AlreadyClaimedError):
            await store.claim(payment, FUNDED)
    await store.claim(forgotten, FUNDED)


async def test_released_payments_are_forgotten_at_their_deadline(store: Store) -> None:
    """They cost the payer nothing, and the journal, in an enclave in memory, 4 KB each."""
    now = time.time()
    deadlines = int(now) - 10, int(now) + 10
    released, waived = ([entry(deadline=deadline) for deadline in deadlines] for _ in range(2))
    for payment in (*released, *waived):
        await store.claim(payment, FUNDED)
    for payment in released:
        await store.move(payment, State.RELEASED)
    for payment in waived:
        await store.move(payment, State.WAIVED)
    assert await store.prune(now - 3600, now) == 1
    left = [payment.key for payment in await store.find_all([payment.key for payment in (*released, *waived)])]
    assert sorted(left) == sorted([released[1].key, *(payment.key for payment in waived)])


async def test_many_payments_are_forgotten_in_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand of them, of a week in which the gateway was off, held the journal for ten seconds."""
    steps, now = [], time.time()

    def counting(prune: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            steps.append(prune)
            return prune(*arguments, **options)

        return step

    for module in (sqlite_store, postgres_store):
        monkeypatch.setattr(module, "_PRUNED_AT_ONCE", 1)
    for ledger in (sqlite_ledger, postgres_ledger):
        monkeypatch.setattr(ledger, "prune", counting(ledger.prune))
    for _ in range(3):
        await store.claim(forgotten := entry(deadline=int(now) - 10), FUNDED)
        await store.move(forgotten, State.RELEASED)
    assert await store.prune(now, now) == 3
    assert len(steps) == 4, "the last finds none"


async def test_what_a_claim_does_not_ask_of_other_payments_is_not_decoded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payer may have thousands of them, and every claim looks at all."""

    def decode(_: bytes) -> Entry:
        raise AssertionError

    await store.claim(entry(cap=7), FUNDED)
    for module in (sqlite_ledger, postgres_ledger):
        monkeypatch.setattr(module, "decode_entry", decode)
    assert (await store.claim(entry(cap=7), FUNDED)).outstanding == 7


async def test_the_living_keep_their_payments_until_the_deadline(store: Store, twin: Store) -> None:
    now = time.time()
    payment = owned_by(store, entry())
    await store.claim(payment, POLICY)
    assert await twin.adopt(now) == []
    assert await store.adopt(now) == []
    assert [each.key for each in await store.adopt(payment.deadline + 1)] == [payment.key]
    assert await twin.adopt(payment.deadline + 1) == []


@pytest.mark.parametrize("left", [600, -1])
async def test_a_closed_workers_payments_are_adopted_once(store: Store, twin: Store, left: int) -> None:
    payment = owned_by(twin, entry(deadline=int(time.time()) + left))
    await twin.claim(payment, POLICY)
    await twin.close()
    adopted = await store.adopt(time.time())
    assert [(each.key, each.owner) for each in adopted] == [(payment.key, store.owner)]
    assert await store.adopt(time.time()) == ([] if left > 0 else adopted)
    with pytest.raises(StoreUnavailableError):
        await twin.claim(entry(), POLICY)


KILLED = """
import asyncio, os, signal, sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
import msgspec
from gateway.billing.claims import ClaimPolicy
from gateway.billing.definitions import bundled
from gateway.billing.journal import State
from gateway.billing.x402_payment import X402Payment
from gateway.billing.storage.postgres_store import PostgresStore
from gateway.billing.storage.sqlite_store import SqliteStore
from tests.billing.entries import entry

async def main():
    where = sys.argv[1]
    store = await (PostgresStore.open(where) if "://" in where else SqliteStore.open(Path(where)))
    policy = ClaimPolicy(bundled().exposure, funds_known=True)
    for states in ((), (State.VERIFIED, State.SERVING), (State.VERIFIED, State.SERVING, State.SETTLING)):
        payment = msgspec.structs.replace(entry(), owner=store.owner)
        await store.claim(payment, policy)
        if states:
            await store.move(payment, *states, amount=123)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
def where(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> str:
    """The store's path or URL."""
    return str(tmp_path / "journal.db") if isinstance(store, SqliteStore) else str(request.getfixturevalue("database"))


async def test_a_killed_process_leaves_everything_that_it_was_told(store: Store, where: str) -> None:
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, where], cwd=REPOSITORY, check=False)
    assert ended.returncode == -9
    adopted = await store.adopt(time.time())
    assert sorted(each.state.value for each in adopted) == ["reserved", "serving", "settling"]
    assert {each.amount for each in adopted} == {None, 123}


async def test_restored_payments_are_orphans_and_never_overwrite(store: Store) -> None:
    known, lost = entry(), entry(state=State.SETTLING, amount=9)
    await store.claim(known, POLICY)
    await store.restore([msgspec.structs.replace(known, state=State.FAILED), lost])
    adopted = await store.adopt(time.time())
    assert [each.key for each in adopted if each.key == lost.key] == [lost.key]
    assert (await store.move(known, State.VERIFIED)).state is State.VERIFIED


async def test_what_a_lost_worker_was_paid_upfront_and_did_not_serve_is_adopted(store: Store, twin: Store) -> None:
    unserved, served, afterwards = (owned_by(twin, entry(upfront=each)) for each in (True, True, False))
    for payment in (unserved, served):
        await twin.claim(payment, FUNDED)
        await twin.move(payment, State.SETTLING, amount=1)
        await twin.move(payment, State.SETTLED)
    await twin.move(served, State.SERVED)
    await twin.claim(afterwards, FUNDED)
    await twin.move(afterwards, State.VERIFIED, State.SERVING, State.SETTLING, State.SETTLED)
    assert await store.adopt(time.time()) == [], "its worker lives"
    await twin.close()
    adopted = await store.adopt(time.time())
    assert [(each.key, each.unserved, each.owner) for each in adopted] == [(unserved.key, True, store.owner)]
    assert await store.adopt(time.time()) == []


async def test_one_failing_step_leaves_its_batch_alone(store: Store) -> None:
    payment = entry()
    await store.claim(payment, POLICY)
    outcomes = await asyncio.gather(
        store.claim(entry(), POLICY),
        store.move(entry(), State.VERIFIED),
        store.move(payment, State.VERIFIED),
        store.claim(payment, POLICY),
        return_exceptions=True,
    )
    expected = ["Claim", "LookupError", "Entry", "AlreadyClaimedError"]
    assert [type(outcome).__name__ for outcome in outcomes] == expected


async def test_a_journal_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    store = await SqliteStore.open(path)
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE payments")
    db.close()
    with pytest.raises(StoreUnavailableError):
        await store.claim(entry(), POLICY)
    await store.close()
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailableError):
        await SqliteStore.open(tmp_path / "file" / "journal.db")
    with pytest.raises(StoreUnavailableError):
        await PostgresStore.open(f"postgresql://gateway:unused@/postgres?host={tmp_path}")


async def test_a_check_writes(store: Store) -> None:
    await store.quote_key(b"k" * 32)
    await store.check()
    if isinstance(store, SqliteStore):
        await store._run(lambda db: db.execute("PRAGMA query_only = ON"))
    elif isinstance(store, PostgresStore):
        await store._pool.execute("ALTER ROLE gateway SET default_transaction_read_only = on")
        await store._pool.expire_connections()
    with pytest.raises(StoreUnavailableError, match=r"readonly|ReadOnly"):
        await store.check()
    if isinstance(store, PostgresStore):
        await store._lock_connection.execute("ALTER ROLE gateway RESET default_transaction_read_only")
        await store._pool.expire_connections()
        await store.check()


async def test_two_gateways_with_one_payee_serve_a_payload_once(
    chain: LocalChain, facilitator: LocalFacilitator, database: str, tmp_path: Path
) -> None:
    await postgres.empty(database)
    async with (
        open_harness(chain, facilitator, tmp_path / "unused", store_url=database) as first,
        open_harness(chain, facilitator, tmp_path / "unused", store_url=database, payee=first.payee) as second,
    ):
        paid = await first.pay(await chain.wallet(usdc=10**6, approve=True), order())
        outcomes = await asyncio.gather(
            *(each.payments.admit(paid) for each in [first, second] * 25), return_exceptions=True
        )
        admitted = [outcome for outcome in outcomes if isinstance(outcome, X402Payment)]
        assert len(admitted) == 1
        await admitted[0].settle(bill())
        assert await first.balance() == 1230
        assert {(await refusal(each.payments, paid)).code for each in (first, second)} == {"payment_already_used"}
    assert not (tmp_path / "unused").exists()


async def test_a_transfer_stands_for_one_payment(store: Store, twin: Store) -> None:
    """Of a transaction that holds two alike, the first named by its facilitator; workers may look at the same time."""
    payments = [owned_by(store, entry(cap=7)) for _ in range(4)]
    for payment in payments:
        await store.claim(payment, FUNDED)
        await store.move(payment, State.VERIFIED, State.SERVING, State.SETTLING, amount=7)
    await store.move(payments[0], State.SETTLED, transaction="0xAB", settled_amount=7)
    looking = zip((store, twin, store), payments[1:], strict=True)
    ended = await asyncio.gather(
        *(each.reconcile(payment, matches=2, transaction="0xab", settled_amount=7) for each, payment in looking),
        return_exceptions=True,
    )
    found = [outcome for outcome in ended if isinstance(outcome, Entry)]
    assert [(entry.state, entry.transaction, entry.settled_amount) for entry in found] == [(State.SETTLED, "0xab", 7)]
    assert sum(isinstance(outcome, TransferAlreadyMatchedError) for outcome in ended) == 2
    for payment, outcome in zip(payments[1:], ended, strict=True):
        if outcome not in found:
            other = await twin.reconcile(payment, matches=1, transaction="0xcd", settled_amount=len(found))
            found.append(other)
    assert [entry.settled_amount for entry in found] == [7, 1, 2]
