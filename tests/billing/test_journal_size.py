"""Journals with many payments in them: finished ones are kept for hours."""

import secrets
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.billing.journal import Entry, State
from gateway.billing.storage import sqlite_ledger
from gateway.billing.storage.postgres_store import PostgresStore
from tests.billing import postgres
from tests.billing.entries import FUNDED, PAYER, entry

Work = Callable[[sqlite3.Connection], Any]

NOW = time.time()
FREQUENT: dict[str, Work] = {
    "claim": lambda db: sqlite_ledger.claim(db, entry(), FUNDED),
    "owners": sqlite_ledger.owners,
    "adopt": lambda db: sqlite_ledger.adopt(db, ["lost"], "worker"),
    "overdue": lambda db: sqlite_ledger.overdue(db, "worker", NOW),
    "prune": lambda db: sqlite_ledger.prune(db, NOW - 21_600, NOW, 500),
    "reconcile": lambda db: _reconcile(db, entry(state=State.SETTLING)),
}


def _reconcile(db: sqlite3.Connection, payment: Entry) -> None:
    sqlite_ledger.restore(db, [payment])
    sqlite_ledger.reconcile(db, payment, 1, {"transaction": "0xab", "settled_amount": 1})


def steps(work: Work, finished: int) -> int:
    """How many instructions of SQLite's ``work`` takes in a journal of so many settled payments."""
    db = sqlite3.connect(":memory:")
    db.executescript(sqlite_ledger.SCHEMA)
    rows = [(secrets.token_bytes(80), PAYER, "worker", "settled", int(NOW) - 60, b"{}") for _ in range(finished)]
    db.executemany("INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?)", rows)
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    db.set_progress_handler(count, 1)
    work(db)
    db.close()
    return taken


@pytest.mark.parametrize("work", FREQUENT.values(), ids=FREQUENT)
def test_finished_payments_slow_down_nothing_that_is_done_all_the_time(work: Work) -> None:
    """A sweep that read all of them every few seconds would hold up everybody's payments meanwhile."""
    assert steps(work, 1000) < steps(work, 0) + 50


def test_no_write_fills_a_temporary_table() -> None:
    """SQLite fills one per index with a list in its condition, before and after the write: half of what it takes."""
    db = sqlite3.connect(":memory:")
    db.executescript(sqlite_ledger.SCHEMA)
    written: list[str] = []
    db.set_trace_callback(written.append)
    payment = entry()
    sqlite_ledger.claim(db, payment, FUNDED)
    serving = sqlite_ledger.move(db, payment, [State.VERIFIED, State.SERVING], {})
    settling = sqlite_ledger.move(db, serving, [State.SETTLING], {"amount": 1})
    sqlite_ledger.move(db, settling, [State.SETTLED], {"settled_amount": 1})
    db.set_trace_callback(None)
    db.text_factory = bytes  # a literal in an instruction need not be text
    steps_of = {statement: [row[1] for row in db.execute(f"EXPLAIN {statement}")] for statement in written}
    db.close()
    assert sum(statement.startswith(("UPDATE", "REPLACE")) for statement in steps_of) == 5
    assert b"OpenEphemeral" not in {step for steps in steps_of.values() for step in steps}


async def test_a_sweep_of_a_database_reads_no_table_from_end_to_end(database: str) -> None:
    """A million payments would take it longer than a command may."""
    await postgres.empty(database)
    store = await PostgresStore.open(database)
    rows = [
        (secrets.token_bytes(80), PAYER, "lost", "settled", int(NOW) - 60, NOW - 60, b"{}", b"") for _ in range(5000)
    ]
    async with store._transaction(None) as db:
        await db.copy_records_to_table("gateway_payments", records=rows)
        await db.execute("ANALYZE gateway_payments")
    async with store._transaction(None) as db:
        await store._adopt_orphans(db)
        read = await db.fetchval("SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'gateway_payments'")
    await store.close()
    assert read == 0


async def test_the_payments_of_one_transaction_are_found_in_a_database_by_an_index(database: str) -> None:
    """Its payer, of all whose requests one wallet pays, had every other claim wait for seconds."""
    await postgres.empty(database)
    store = await PostgresStore.open(database)
    paid = [entry(state=State.SETTLED, transaction=f"0x{number}", settled_amount=1) for number in range(500)]
    payment = entry(state=State.SETTLING)
    await store.restore([*paid, payment])
    async with store._transaction(None) as db:
        await db.execute("ANALYZE gateway_payments")
    read = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_user_tables WHERE relname = 'gateway_payments'"
    flush = "SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()"
    await store._pool.execute(flush)
    before = await store._pool.fetchval(read)
    await store.reconcile(payment, matches=1, transaction="0xab", settled_amount=1)
    await store._pool.execute(flush)
    assert await store._pool.fetchval(read) - before < 50
    await store.close()
