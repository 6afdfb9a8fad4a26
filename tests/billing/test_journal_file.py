"""The embedded store's file, its WAL and its workers' locks: opened, replaced and closed by several processes."""

import asyncio
import os
import secrets
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gateway.billing.journal import State, encode_entry
from gateway.billing.storage.sqlite_store import SqliteStore
from gateway.billing.storage.store import StoreUnavailableError
from tests.billing.entries import POLICY, entry, owned_by

REPOSITORY = Path(__file__).parents[2]


STARTED = """
import asyncio, multiprocessing, sys
from pathlib import Path
from gateway.billing.storage.sqlite_store import SqliteStore

def worker(folder, together):
    async def main():
        for number in range(50):
            together.wait()
            await (await SqliteStore.open(folder / f"{number}.db")).close()
    try:
        asyncio.run(main())
    except Exception:
        together.abort()
        raise

fork = multiprocessing.get_context("fork")
together = fork.Barrier(2)
workers = [fork.Process(target=worker, args=(Path(sys.argv[1]), together)) for _ in range(2)]
for each in workers:
    each.start()
for each in workers:
    each.join()
sys.exit(any(each.exitcode for each in workers))
"""


def test_workers_that_start_together_open_a_new_journal(tmp_path: Path) -> None:
    """As after an injection, of which all workers hear at once."""
    ended = subprocess.run(
        [sys.executable, "-c", STARTED, tmp_path], cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


async def test_a_new_journal_is_its_owners_only(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "journal.db")
    try:
        await store.claim(entry(), POLICY)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        await store.close()
    assert modes == {
        "journal.db": 0o600,
        "journal.db-wal": 0o600,
        "journal.db-shm": 0o600,
        "journal.db-workers": 0o700,
    }


EARLIER = """
CREATE TABLE payments (key BLOB PRIMARY KEY, payer BLOB NOT NULL, owner TEXT NOT NULL, state TEXT NOT NULL,
    deadline INTEGER NOT NULL, entry BLOB NOT NULL);
CREATE INDEX unfinished ON payments (payer, owner)
    WHERE state IN ('pending', 'reserved', 'serving', 'settling', 'verified');
CREATE INDEX paid ON payments (payer) WHERE state IN ('settled', 'served', 'unserved');
"""


async def test_an_earlier_journal_gets_the_indexes_of_this_one(tmp_path: Path) -> None:
    """Its own cannot be used, and would still be written."""
    path, payment = tmp_path / "journal.db", entry(owner="gone")
    earlier = sqlite3.connect(path)
    earlier.executescript(EARLIER)
    earlier.execute(
        "INSERT INTO payments VALUES (?, ?, 'gone', 'reserved', ?, ?)",
        (payment.key, payment.payer, payment.deadline, encode_entry(payment)),
    )
    earlier.commit()
    store = await SqliteStore.open(path)
    adopted = await store.adopt(0.0)
    await store.close()
    indexes = {row[0] for row in earlier.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE INDEX%'")}
    earlier.close()
    assert adopted == [msgspec.structs.replace(payment, owner=store.owner)]
    assert indexes == {"payments_unfinished", "unserved", "payments_by_deadline", "released", "payments_paid"}


@pytest.mark.parametrize("replaced", [False, True])
async def test_no_claim_is_made_in_a_file_that_nobody_else_can_open(tmp_path: Path, replaced: bool) -> None:
    """A worker that starts later has another file, and would serve the same payment again. Claims end as they began."""
    path, aside = tmp_path / "journal.db", tmp_path / "aside"
    store = await SqliteStore.open(path)
    claimed, other = owned_by(store, entry()), owned_by(store, entry(payer=b"o" * 20))
    await store.claim(claimed, POLICY)
    path.rename(aside)
    if replaced:
        path.touch()
    with pytest.raises(StoreUnavailableError, match="removed or replaced"):
        await store.check()
    with pytest.raises(StoreUnavailableError, match="removed or replaced"):
        await store.claim(other, POLICY)
    assert (await store.move(claimed, State.VERIFIED, State.SERVING)).state is State.SERVING
    aside.rename(path)
    await store.check()
    await store.claim(other, POLICY)
    await store.close()


async def test_nothing_is_claimed_on_a_disk_that_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one that is full, claimed payments cannot be settled, and expired ones not forgotten, which makes room."""
    store = await SqliteStore.open(tmp_path / "journal.db")
    claimed, other = owned_by(store, entry(note="long" * 2000)), owned_by(store, entry(payer=b"o" * 20))
    await store.claim(claimed, POLICY)
    disk = os.statvfs(tmp_path)
    left = os.statvfs_result((disk.f_bsize, 4096, *disk[2:4], 32 * 256 - 1, *disk[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result([0] * 10))
    await store.check()
    monkeypatch.setattr(os, "statvfs", lambda _: left)
    with pytest.raises(StoreUnavailableError, match="its disk has less than 32 MiB left"):
        await store.check()
    with pytest.raises(StoreUnavailableError, match="its disk has less than 32 MiB left"):
        await store.claim(other, POLICY)
    assert (await store.move(claimed, State.WAIVED)).state is State.WAIVED
    assert await store.prune(claimed.deadline + 1, 0) == 1
    await store.check()
    await store.claim(other, POLICY)
    await store.close()


async def test_a_journal_that_cannot_be_opened_leaves_no_lock_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("not a database, but long enough to be read as one" * 100)
    for name in ("folder", "text"):
        with pytest.raises(StoreUnavailableError):
            await SqliteStore.open(tmp_path / name)
        assert list((tmp_path / f"{name}-workers").iterdir()) == []


async def test_the_next_worker_removes_the_locks_of_killed_ones(tmp_path: Path) -> None:
    """A worker that crashes at every start would leave one each time."""
    living = await SqliteStore.open(tmp_path / "journal.db")
    killed = tmp_path / "journal.db-workers" / secrets.token_hex(8)
    killed.touch()
    payment = owned_by(living, entry())
    await living.claim(payment, POLICY)
    orphan = entry(payer=b"o" * 20, owner=killed.name)
    await living.claim(orphan, POLICY)
    other = await SqliteStore.open(tmp_path / "journal.db")
    assert {path.name for path in killed.parent.iterdir()} == {living.owner, other.owner}
    assert [each.key for each in await other.adopt(0.0)] == [orphan.key]
    for store in (living, other):
        await store.close()
    assert list(killed.parent.iterdir()) == []


async def test_nobody_passes_for_lost_whose_lock_was_removed(tmp_path: Path) -> None:
    """As with the whole folder of the journal. Payments that a worker serves would be waived or settled by another."""
    living, other = await SqliteStore.open(tmp_path / "journal.db"), await SqliteStore.open(tmp_path / "journal.db")
    await living.claim(owned_by(living, entry()), POLICY)
    shutil.rmtree(tmp_path / "journal.db-workers")
    assert await other.adopt(0.0) == []
    for store in (living, other):
        await store.close()


COUNT = """
import sqlite3, sys
sys.exit(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM payments").fetchone()[0])
"""


async def test_a_second_store_of_one_process_leaves_the_first_its_locks(tmp_path: Path) -> None:
    """As after an injection that changes the payment settings. Without its lock on the file, any other process that
    closes it, as an operator's sqlite3 does, would remove the WAL that both stores still write."""
    path = tmp_path / "journal.db"
    earlier, later = await SqliteStore.open(path), await SqliteStore.open(path)
    for number, store in enumerate((earlier, later), 1):
        await store.claim(owned_by(store, entry(payer=bytes([number]) * 20)), POLICY)
        counted = await asyncio.create_subprocess_exec(sys.executable, "-c", COUNT, path)
        assert await counted.wait() == number
        assert (tmp_path / "journal.db-wal").exists()
    for store in (earlier, later):
        await store.close()
