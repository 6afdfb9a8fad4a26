"""Operations that share a commit of the embedded journal."""

import asyncio
import threading
from typing import Any

import pytest

from gateway.billing.storage import group_commit
from gateway.billing.storage.group_commit import GroupCommit
from gateway.billing.storage.sqlite_store import SqliteStore
from tests.billing.entries import FUNDED, entry


async def test_what_comes_soon_after_a_commit_shares_the_next(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, sizes, paused = GroupCommit._commit, [], threading.Event()

    def counted(writer: GroupCommit, operations: Any) -> None:
        sizes.append(len(operations))
        commit(writer, operations)

    monkeypatch.setattr(group_commit, "_INTERVAL_SECONDS", 3600.0)
    monkeypatch.setattr("gateway.billing.storage.group_commit.time.sleep", lambda seconds: paused.wait(10))
    monkeypatch.setattr(GroupCommit, "_commit", counted)
    await sqlite_store.check()
    claims = []
    for _ in range(3):
        claims.append(asyncio.create_task(sqlite_store.claim(entry(), FUNDED)))
        await asyncio.sleep(0.01)
    paused.set()
    await asyncio.gather(*claims)
    assert sizes == [1, 3]
