"""A worker whose connection to the database is lost: it lives all the same."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from threading import Thread
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest

from gateway.billing.claims import Claim
from gateway.billing.journal import State, TransferAlreadyMatchedError
from gateway.billing.storage import postgres_store
from gateway.billing.storage.postgres_store import PostgresStore
from gateway.billing.storage.store import CommitUnknownError, StoreUnavailableError
from tests.billing import postgres
from tests.billing.entries import POLICY, entry, owned_by
from tests.waiting import until_answer


class Ahead:
    """The module ``time``, so many seconds later."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time(self) -> float:
        return time.time() + self.seconds

    def monotonic(self) -> float:
        return time.monotonic() + self.seconds


ENDED = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_locks WHERE locktype = 'advisory'"
"""All, not only the first row's; and they have ended, so that their locks are not taken for those of the living."""
LIVING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


async def living(database: str, count: int) -> None:
    """Returns once so many workers hold their locks."""
    await until_answer(lambda: postgres.run(database, LIVING), lambda found: found == count)


async def test_a_worker_that_loses_its_database_connection_during_a_long_answer_keeps_its_payment(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the database is started anew: others that are quicker to look do not take the worker for gone at once."""
    await postgres.empty(database)
    ahead = Ahead()
    monkeypatch.setattr("gateway.billing.storage.postgres_store.time", ahead)
    store, other = [await PostgresStore.open(database, grace_seconds=15.0) for _ in range(2)]
    payment = owned_by(store, entry())
    await store.claim(payment, POLICY)
    await store.move(payment, State.VERIFIED, State.SERVING)
    ahead.seconds = 120.0
    monkeypatch.setattr(store, "_reacquire_lock", asyncio.Event().wait)
    await postgres.run(database, ENDED)
    await living(database, 1)
    assert await other.adopt(ahead.time()) == []
    ahead.seconds += 10.0
    assert await other.adopt(ahead.time()) == []
    ahead.seconds += 10.0
    assert [each.key for each in await other.adopt(ahead.time())] == [payment.key]
    for each in (store, other):
        await each.close()


async def test_a_lock_that_was_lost_unnoticed_is_taken_again(database: str) -> None:
    """A network may swallow the end of the connection; others would adopt the payments of every long answer."""
    await postgres.empty(database)
    store = await PostgresStore.open(database)
    await store._lock_connection.execute("SELECT pg_advisory_unlock_all()")
    await living(database, 0)
    await store.adopt(time.time())
    await living(database, 1)
    await store.close()


async def test_postgresql_watches_for_gateways_that_vanish(database: str) -> None:
    """Else a host that lost its power would keep its locks, and its payments from the others, for two hours."""
    watched = "SELECT array_agg(name ORDER BY name) FROM pg_settings WHERE source = 'session'"
    await postgres.empty(database)
    store = await PostgresStore.open(database)
    await store.check()
    for connection in (store._pool, store._lock_connection):
        names = await connection.fetchval(watched)
        assert {"tcp_keepalives_idle", "tcp_user_timeout"} <= set(names)
    await store.close()


async def test_restored_payments_are_nobodys_and_need_not_be_missed_first(database: str) -> None:
    """The next sweep may come after their deadlines."""
    await postgres.empty(database)
    store = await PostgresStore.open(database)
    restored = entry(state=State.SETTLING, updated=1.0)
    await store.restore([restored])
    assert [each.key for each in await store.adopt(time.time())] == [restored.key]
    await store.close()


async def test_a_worker_that_lost_its_database_connection_takes_its_lock_again(database: str) -> None:
    await postgres.empty(database)
    store, other = [await PostgresStore.open(database, grace_seconds=-1.0) for _ in range(2)]
    await store.claim(owned_by(store, entry()), POLICY)
    await postgres.run(database, ENDED)
    await living(database, 2)
    assert await other.adopt(time.time()) == []
    for each in (store, other):
        await each.close()


async def test_a_database_that_is_away_is_told_once_and_when_it_is_back(
    database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each worker wrote an error each second. Why it is away, the check of the journal says."""
    monkeypatch.setattr(postgres_store, "_RECONNECT_SECONDS", 0.0)
    store = await PostgresStore.open(database)
    acquire, failures = store._acquire_lock, [OSError("refused")] * 3

    async def acquire_later() -> None:
        if failures:
            raise failures.pop()
        await acquire()

    monkeypatch.setattr(store, "_acquire_lock", acquire_later)
    with caplog.at_level("INFO", "gateway.billing.storage"):
        await postgres.run(database, ENDED)
        await living(database, 1)
        assert store._relock_task is not None
        await store._relock_task
    told = [(record.levelname, record.message, record.exc_info) for record in caplog.records]
    assert told == [("WARNING", "journal database lost", None), ("INFO", "journal database connected again", None)]
    await store.close()


CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


@pytest.mark.usefixtures("database")  # skips where PostgreSQL is missing
async def test_a_pool_without_a_database_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """asyncpg logs a traceback each time that it cannot restore the connections that a pool is to have at least."""
    with ExitStack() as stack:
        store = await PostgresStore.open(await asyncio.to_thread(stack.enter_context, postgres.server()))
        await asyncio.to_thread(stack.close)
        with pytest.raises(StoreUnavailableError):
            await store.check()
        await asyncio.sleep(0.1)
        await store.close()
    assert {record.name for record in caplog.records} <= {postgres_store.__name__}


async def test_a_lock_that_a_lost_connection_still_holds_is_not_waited_for_on_ever_more_connections(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may take hours to notice that a client is gone; each attempt would leave a connection open."""
    await postgres.empty(database)
    lost = await PostgresStore.open(database)
    before = await postgres.run(database, CLIENTS)
    monkeypatch.setattr(postgres_store, "_COMMAND_SECONDS", 0.05)
    store = PostgresStore(database, grace_seconds=15.0)
    store.owner = lost.owner
    with pytest.raises(TimeoutError):
        await store._acquire_lock()
    await until_answer(lambda: postgres.run(database, CLIENTS), lambda now: now == before)
    await lost.close()


ALL_ENDED = (
    "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND usename = 'gateway'"
)


def end_all(database: str) -> None:
    """Every connection, while the loop stands still."""
    thread = Thread(target=lambda: asyncio.run(postgres.run(database, ALL_ENDED)))
    thread.start()
    thread.join()


async def test_connections_that_end_at_any_moment_are_a_journal_that_is_away(database: str) -> None:
    """As when the database is started anew: nothing else may come out of the driver."""
    await postgres.empty(database)
    store = await PostgresStore.open(database)
    outcomes = set()
    for turns in range(0, 40, 2):
        moving = asyncio.create_task(store.claim(owned_by(store, entry(payer=secrets.token_bytes(20))), POLICY))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        end_all(database)
        [outcome] = await asyncio.gather(moving, return_exceptions=True)
        outcomes.add(type(outcome))
    await store.close()
    assert outcomes - {Claim}
    assert all(issubclass(outcome, Claim | StoreUnavailableError) for outcome in outcomes)


async def test_a_database_that_does_not_respond_keeps_no_request_waiting(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all connections of the pool wait for it, the others' requests would wait without a limit."""
    await postgres.empty(database)
    store = await PostgresStore.open(database)
    monkeypatch.setattr(postgres_store, "_COMMAND_SECONDS", 0.05)
    busy = [await store._pool.acquire() for _ in range(postgres_store._CONNECTIONS)]
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailableError):
            await store.claim(owned_by(store, entry()), POLICY)
    for connection in busy:
        await store._pool.release(connection)
    monkeypatch.undo()
    assert await store.claim(owned_by(store, entry()), POLICY) == Claim(0)
    await store.close()


async def test_a_store_whose_database_has_just_gone_is_closed_all_the_same(database: str) -> None:
    await postgres.empty(database)
    store = await PostgresStore.open(database)
    end_all(database)
    await store.close()
    assert store._pool.is_closing()
    assert store._lock_connection.is_closed()


async def test_a_database_that_cannot_be_written_is_left_alone(database: str) -> None:
    """Opened anew with every try, it would soon have no connection left for anybody."""
    with pytest.raises(StoreUnavailableError, match="ReadOnly"):
        await PostgresStore.open(f"{database}&default_transaction_read_only=on")
    await until_answer(lambda: postgres.run(database, CLIENTS), lambda now: now == 1)


@pytest.mark.parametrize("committing", [False, True])
async def test_what_a_database_that_is_lost_while_it_commits_has_done_is_not_known(
    database: str, committing: bool
) -> None:
    await postgres.empty(database)
    store = await PostgresStore.open(database)

    async def is_lost() -> None:
        async with store._transaction(b"payer") as db:
            await postgres.run(database, f"SELECT pg_terminate_backend({db.get_server_pid()}, 10000)")
            if not committing:
                await db.execute("SELECT 1")

    with pytest.raises(StoreUnavailableError) as lost:
        await is_lost()
    assert isinstance(lost.value, CommitUnknownError) is committing
    await store.close()


async def test_payments_that_were_adopted_unheard_are_adopted(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would settle them while the worker lives that adopted them."""
    await postgres.empty(database)
    lost, store = [await PostgresStore.open(database, grace_seconds=-1.0) for _ in range(2)]
    payment = owned_by(lost, entry())
    await lost.claim(payment, POLICY)
    await lost.move(payment, State.VERIFIED, State.SERVING, State.SETTLING)
    await lost.close()
    transaction = store._transaction

    @asynccontextmanager
    async def unheard(payer: bytes | None) -> AsyncIterator[Any]:
        async with transaction(payer) as db:
            yield db
        raise CommitUnknownError("journal database: ConnectionDoesNotExistError")

    with monkeypatch.context() as context:
        context.setattr(store, "_transaction", unheard)
        with pytest.raises(CommitUnknownError):
            await store.adopt(time.time())
    assert [each.key for each in await store.adopt(time.time())] == [payment.key]
    assert await store.adopt(time.time()) == []
    await store.close()


SLOW_COMMIT_FUNCTION = """
CREATE OR REPLACE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    FOR turn IN 1..20 LOOP
        BEGIN PERFORM pg_sleep(0.1); EXCEPTION WHEN query_canceled THEN NULL; END;
    END LOOP;
    RETURN NULL;
END $$
"""
SLOW_COMMIT_TRIGGER = """
CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON gateway_payments
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_commit()
"""
"""Claims take two seconds to commit, whatever the client does meanwhile."""


async def test_a_claim_that_commits_after_it_was_given_up_is_found_by_its_undoing(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await postgres.empty(database)
    monkeypatch.setattr("gateway.billing.storage.postgres_store._COMMAND_SECONDS", 0.5)
    store = await PostgresStore.open(database)
    monkeypatch.setattr("gateway.billing.storage.postgres_store._COMMAND_SECONDS", 15.0)
    undoing = await PostgresStore.open(database)
    for statement in (SLOW_COMMIT_FUNCTION, SLOW_COMMIT_TRIGGER):
        await postgres.run(database, statement)
    payment = owned_by(store, entry())
    with pytest.raises(CommitUnknownError):
        await store.claim(payment, POLICY)
    found = await undoing.find(payment)
    assert found is not None
    assert found.state is State.RESERVED
    await store.close()
    await undoing.close()
    await postgres.run(database, "DROP TRIGGER slow_commit ON gateway_payments")


async def test_a_database_of_an_earlier_version_gets_what_it_lacks(database: str) -> None:
    """The transactions too that its payments have matched: each of them would stand for one more payment."""
    await postgres.empty(database)
    store = await PostgresStore.open(database)
    paid, burnt = (owned_by(store, entry()) for _ in range(2))
    for payment in (paid, burnt):
        await store.claim(payment, POLICY)
        await store.move(payment, State.VERIFIED, State.SERVING, State.SETTLING, amount=7)
    await store.move(paid, State.SETTLED, transaction="0xAB", settled_amount=7)
    await store.close()
    await postgres.run(database, "ALTER TABLE gateway_payments DROP COLUMN transaction")
    store = await PostgresStore.open(database)
    with pytest.raises(TransferAlreadyMatchedError):
        await store.reconcile(burnt, matches=1, transaction="0xab", settled_amount=7)
    found = await store.reconcile(burnt, matches=1, transaction="0xcd", settled_amount=7)
    assert found.state is State.SETTLED
    await store.close()


async def test_a_worker_waits_for_the_tables_of_an_earlier_version(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than for any other command: another worker rewrites all payments."""
    await postgres.empty(database)
    await (await PostgresStore.open(database)).close()
    monkeypatch.setattr(postgres_store, "_COMMAND_SECONDS", 0.5)
    altering = await asyncpg.connect(database)
    await altering.execute("BEGIN; SELECT pg_advisory_xact_lock(7402402402)")
    opening = asyncio.create_task(PostgresStore.open(database))
    await asyncio.sleep(1.0)
    await altering.execute("COMMIT")
    await (await opening).close()
    await altering.close()


async def test_a_worker_starts_during_a_backup(database: str) -> None:
    """pg_dump keeps every table from being altered, and whoever waits for that keeps all others waiting."""
    await postgres.empty(database)
    await (await PostgresStore.open(database)).close()
    backup = await asyncpg.connect(database)
    async with backup.transaction():
        await backup.execute("LOCK TABLE gateway_payments IN ACCESS SHARE MODE")
        async with asyncio.timeout(5):
            store = await PostgresStore.open(database)
        await store.claim(entry(), POLICY)
        await store.close()
    await backup.close()
