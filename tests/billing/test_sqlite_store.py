"""The embedded store: atomic between requests, stores and processes; complete after a crash."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gateway.billing.claims import AlreadyClaimedError, ClaimPolicy, ExposureExceededError
from gateway.billing.definitions import bundled
from gateway.billing.journal import Entry, IllegalMoveError, State
from gateway.billing.sqlite_store import SqliteStore
from gateway.billing.store import StoreUnavailableError
from tests.billing.entries import PAYER, entry

POLICY = ClaimPolicy(bundled().exposure, funds_known=False)
FUNDED = ClaimPolicy(bundled().exposure, funds_known=True)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "journal.db")
    yield opened
    await opened.close()


@pytest.fixture
async def twin(store: SqliteStore, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Another worker on the same file."""
    opened = await SqliteStore.open(tmp_path / "journal.db")
    yield opened
    await opened.close()


def mine(store: SqliteStore, payment: Entry) -> Entry:
    return msgspec.structs.replace(payment, owner=store.owner)


async def test_of_fifty_claims_in_two_workers_one_is_made(store: SqliteStore, twin: SqliteStore) -> None:
    payment = entry()
    outcomes = await asyncio.gather(
        *(each.claim(mine(each, payment), POLICY) for each in [store, twin] * 25), return_exceptions=True
    )
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyClaimedError) for outcome in outcomes) == 49


async def test_claims_of_one_payer_see_those_ahead(store: SqliteStore, twin: SqliteStore) -> None:
    claims = await asyncio.gather(*(each.claim(entry(cap=7), FUNDED) for each in [store, twin, store, twin, store]))
    assert sorted(claim.ahead for claim in claims) == [0, 7, 14, 21, 28]


async def test_exposure_is_checked_in_the_claims_own_transaction(store: SqliteStore, twin: SqliteStore) -> None:
    outcomes = await asyncio.gather(
        *(each.claim(entry(), POLICY) for each in [store, twin] * 10), return_exceptions=True
    )
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 2
    assert sum(isinstance(outcome, ExposureExceededError) for outcome in outcomes) == 18


async def test_moves_are_checked_in_the_store(store: SqliteStore, twin: SqliteStore) -> None:
    payment = entry()
    await store.claim(payment, POLICY)
    served = await twin.move(payment.key, State.VERIFIED, State.SERVING)
    assert served.state is State.SERVING
    outcomes = await asyncio.gather(
        store.move(payment.key, State.SETTLING, amount=5),
        twin.move(payment.key, State.SETTLING, amount=6),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Entry", "IllegalMoveError"]
    with pytest.raises(IllegalMoveError):
        await store.move(payment.key, State.PENDING, State.SETTLED, State.FAILED)
    assert (await store.move(payment.key, State.SETTLED)).transaction == ""
    with pytest.raises(LookupError):
        await store.move(b"\1" * 80, State.RELEASED)


async def test_a_released_payment_can_be_claimed_again_and_a_waived_one_cannot(store: SqliteStore) -> None:
    payment = entry()
    await store.claim(payment, POLICY)
    await store.move(payment.key, State.RELEASED)
    await store.claim(payment, POLICY)
    await store.move(payment.key, State.VERIFIED, State.SERVING, State.WAIVED)
    with pytest.raises(AlreadyClaimedError):
        await store.claim(payment, POLICY)


async def test_only_finished_payments_past_their_deadline_are_forgotten(store: SqliteStore) -> None:
    now = time.time()
    kept, forgotten, serving = entry(), entry(deadline=int(now) - 10), entry(deadline=int(now) - 10)
    for payment in (kept, forgotten, serving):
        await store.claim(payment, FUNDED)
        await store.move(payment.key, State.VERIFIED, State.SERVING)
    for payment in (kept, forgotten):
        await store.move(payment.key, State.WAIVED)
    assert await store.prune(now) == 1
    assert await store.prune(now) == 0
    for payment in (kept, serving):
        with pytest.raises(AlreadyClaimedError):
            await store.claim(payment, FUNDED)
    await store.claim(forgotten, FUNDED)


async def test_the_living_keep_their_payments_until_the_deadline(store: SqliteStore, twin: SqliteStore) -> None:
    now = time.time()
    payment = mine(store, entry())
    await store.claim(payment, POLICY)
    assert await twin.adopt(now) == []
    assert await store.adopt(now) == []
    assert [each.key for each in await store.adopt(payment.deadline + 1)] == [payment.key]
    assert await twin.adopt(payment.deadline + 1) == []


async def test_a_closed_workers_payments_are_adopted_once(store: SqliteStore, twin: SqliteStore) -> None:
    payment = mine(twin, entry())
    await twin.claim(payment, POLICY)
    await twin.close()
    adopted = await store.adopt(time.time())
    assert [(each.key, each.owner) for each in adopted] == [(payment.key, store.owner)]
    assert await store.adopt(time.time()) == []
    with pytest.raises(StoreUnavailableError):
        await twin.claim(entry(), POLICY)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
import msgspec
from gateway.billing.claims import ClaimPolicy
from gateway.billing.definitions import bundled
from gateway.billing.journal import State
from gateway.billing.sqlite_store import SqliteStore
from tests.billing.entries import entry

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    policy = ClaimPolicy(bundled().exposure, funds_known=True)
    for states in ((), (State.VERIFIED, State.SERVING), (State.VERIFIED, State.SERVING, State.SETTLING)):
        payment = msgspec.structs.replace(entry(), owner=store.owner)
        await store.claim(payment, policy)
        if states:
            await store.move(payment.key, *states, amount=123)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_killed_process_leaves_everything_that_it_was_told(store: SqliteStore, tmp_path: Path) -> None:
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, str(tmp_path / "journal.db")], cwd=REPOSITORY, check=False
    )
    assert ended.returncode == -9
    adopted = await store.adopt(time.time())
    assert sorted(each.state.value for each in adopted) == ["reserved", "serving", "settling"]
    assert {each.amount for each in adopted} == {None, 123}


async def test_restored_payments_are_orphans_and_never_overwrite(store: SqliteStore) -> None:
    known, lost = entry(), entry(state=State.SETTLING, amount=9)
    await store.claim(known, POLICY)
    await store.restore([msgspec.structs.replace(known, state=State.FAILED), lost])
    adopted = await store.adopt(time.time())
    assert [each.key for each in adopted if each.key == lost.key] == [lost.key]
    assert (await store.move(known.key, State.VERIFIED)).state is State.VERIFIED


async def test_credit_is_exact_and_used_up_once(store: SqliteStore, twin: SqliteStore) -> None:
    await store.add_credit(PAYER, "usdc", 2**80)
    taken = await asyncio.gather(*(each.take_credit(PAYER, "usdc", 2**79) for each in [store, twin] * 3))
    assert sum(taken) == 2
    assert not await store.take_credit(PAYER, "usdc", 1)
    assert not await store.take_credit(PAYER, "opg", 1)


async def test_one_failing_step_leaves_its_batch_alone(store: SqliteStore) -> None:
    payment = entry()
    outcomes = await asyncio.gather(
        store.claim(payment, POLICY),
        store.move(b"\1" * 80, State.VERIFIED),
        store.move(payment.key, State.VERIFIED),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["Claim", "LookupError", "Entry"]


async def test_a_journal_that_cannot_be_written_says_so(store: SqliteStore, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("DROP TABLE payments")
    with pytest.raises(StoreUnavailableError):
        await store.claim(entry(), POLICY)
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailableError):
        await SqliteStore.open(tmp_path / "file" / "journal.db")
