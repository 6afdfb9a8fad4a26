"""Notes: moves that nobody waits for, and what is left of a payment whose worker died before they were written."""

import asyncio
import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.billing.journal import Entry, IllegalTransitionError, State, decode_entry
from gateway.billing.storage import sqlite_ledger, sqlite_store
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import StoreUnavailableError
from tests.billing.entries import FUNDED, entry
from tests.waiting import until

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(path)
    yield opened
    await opened.close()


async def claimed(store: SqliteStore, **changes: Any) -> Entry:
    payment = entry(owner=store.owner, **changes)
    await store.claim(payment, FUNDED)
    return payment


def written(path: Path, payment: Entry) -> Entry:
    """The entry as another process reads it."""
    db = sqlite3.connect(path)
    try:
        [(found,)] = db.execute("SELECT entry FROM payments WHERE key = ?", (payment.key,)).fetchall()
    finally:
        db.close()
    return decode_entry(found)


async def until_written(path: Path, payment: Entry, state: State) -> None:
    await until(lambda: written(path, payment).state is state)


async def settling(store: SqliteStore) -> Entry:
    return await store.move(await claimed(store), State.SETTLING, amount=5)


async def test_a_note_is_written_with_the_next_step_of_anyone(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "_DEFER_SECONDS", 3600.0)
    payment = await settling(store)
    settled = await store.defer_move(payment, State.SETTLED, settled_amount=5)
    assert settled.state is State.SETTLED
    assert written(path, payment).state is State.SETTLING
    await claimed(store)
    assert written(path, payment).state is State.SETTLED


async def test_a_note_is_written_soon_and_at_the_end(store: SqliteStore, path: Path) -> None:
    soon = await settling(store)
    await store.defer_move(soon, State.SETTLED)
    await until_written(path, soon, State.SETTLED)
    begun = await claimed(store)
    await store.defer_move(begun, State.VERIFIED, State.SERVING)
    await until_written(path, begun, State.SERVING)
    payment, short = await settling(store), await claimed(store)
    settled = await store.defer_move(payment, State.SETTLED, settled_amount=5)
    await store.defer_move(short, State.VERIFIED, State.SERVING)
    await store.close()
    assert msgspec.structs.replace(written(path, payment), updated=settled.updated) == settled
    assert written(path, short).state is State.SERVING


async def test_that_an_answer_has_begun_is_written_with_the_end_of_a_short_one(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "_DEFER_SERVING_SECONDS", 3600.0)
    first, second = await claimed(store), await claimed(store)
    serving = [await store.defer_move(each, State.VERIFIED, State.SERVING, note="begun") for each in (first, second)]
    await claimed(store)
    assert {written(path, each).state for each in (first, second)} == {State.RESERVED}
    assert await store.move(serving[0], State.SETTLING, amount=5) == written(path, first)
    assert (written(path, first).state, written(path, first).note) == (State.SETTLING, "begun")
    with pytest.raises(IllegalTransitionError, match="from serving to released"):
        await store.move(serving[1], State.RELEASED)
    assert written(path, second).state is State.SERVING


async def test_notes_and_moves_keep_their_order_and_the_payers_standing(store: SqliteStore) -> None:
    debtor = await claimed(store, amount=10**19)
    settling = await store.defer_move(await store.defer_move(debtor, State.VERIFIED, State.SERVING), State.SETTLING)
    failed = await store.defer_move(settling, State.FAILED, payers_fault=True)
    with pytest.raises(IllegalTransitionError):
        await store.defer_move(failed, State.SETTLED)
    with pytest.raises(IllegalTransitionError) as refused:
        await store.move(debtor, State.RELEASED)
    assert refused.value.origin is State.FAILED, "what the store knows counts"
    with pytest.raises(Exception, match="1 USD owed"):
        await claimed(store)


async def test_a_note_that_cannot_be_written_is_tried_until_it_can(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_store, "_RETRY_SECONDS", 0.01)
    payment = await settling(store)
    db = sqlite3.connect(path)
    db.execute("ALTER TABLE payments RENAME TO away")
    await store.defer_move(payment, State.SETTLED)
    await until(lambda: caplog.text.count("journal write delayed") >= 2)
    db.execute("ALTER TABLE away RENAME TO payments")
    db.close()
    await until_written(path, payment, State.SETTLED)


async def test_a_note_that_the_store_refuses_is_loud(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    payment = await claimed(store)
    await store.move(payment, State.RELEASED)
    await store.defer_move(payment, State.VERIFIED)
    await claimed(store)
    await asyncio.sleep(0)
    assert [record.levelno for record in caplog.records if "deferred journal write" in record.message] == [
        logging.ERROR
    ]
    await store.close()
    await store.defer_move(payment, State.VERIFIED)
    assert "after the journal was closed" in caplog.text


async def test_half_a_step_undoes_its_batch(store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await claimed(store), await claimed(store)
    broken = sqlite_ledger.move

    def move(db: sqlite3.Connection, known: Entry, to: Any, changes: Any) -> Entry:
        moved = broken(db, known, to, changes)
        if known.key == second.key:
            raise ValueError("after the write")
        return moved

    monkeypatch.setattr(sqlite_ledger, "move", move)
    await store.defer_move(first, State.VERIFIED)
    with pytest.raises(StoreUnavailableError, match="after the write"):
        await store.move(second, State.VERIFIED)
    assert {written(path, each).state for each in (first, second)} == {State.RESERVED}


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
import msgspec
from gateway.billing.journal import State
from gateway.billing.storage.sqlite_store import SqliteStore
from tests.billing.entries import entry
from tests.billing.test_notes import claimed

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    paid = await claimed(store, key=b"s" * 80)
    settling = await store.move(await store.defer_move(paid, State.VERIFIED, State.SERVING), State.SETTLING, amount=7)
    begun = await claimed(store, key=b"b" * 80)
    await store.defer_move(settling, State.SETTLED, settled_amount=7)
    await store.defer_move(begun, State.VERIFIED, State.SERVING)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_killed_process_takes_nothing_but_its_last_notes_with_it(store: SqliteStore, path: Path) -> None:
    """What was settled is found with its amount, to be asked after; what was begun is found claimed."""
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, str(path)], cwd=REPOSITORY, check=False
    )
    assert ended.returncode == -9
    adopted = {each.key[:1]: each for each in await store.adopt(time.time())}
    assert (adopted[b"s"].state, adopted[b"s"].amount) == (State.SETTLING, 7)
    assert adopted[b"b"].state is State.RESERVED
