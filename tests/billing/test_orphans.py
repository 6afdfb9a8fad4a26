"""Payments whose worker is gone are closed one by one, while requests are served."""

import asyncio
import time
from pathlib import Path
from typing import Any

from gateway.billing.definitions import bundled
from gateway.billing.journal import Entry, State
from gateway.billing.orphans import OrphanRecovery
from gateway.billing.storage.sqlite_store import SqliteStore
from tests.billing.entries import entry


async def test_requests_are_served_between_two_orphans(tmp_path: Path) -> None:
    """An outage of the facilitator leaves thousands: twenty thousand kept all requests waiting for half a second."""
    served = 0
    resumed: list[int] = []

    class Settlements:
        def resume(self, _: Entry) -> None:
            resumed.append(served)

    async def serve() -> None:
        nonlocal served
        while True:
            served += 1
            await asyncio.sleep(0)

    store = await SqliteStore.open(tmp_path / "journal.db")
    await store.restore([entry(state=State.SETTLING, amount=7) for _ in range(50)])
    settlements: Any = Settlements()
    requests = asyncio.create_task(serve())
    await OrphanRecovery(store, settlements, bundled().settlement, time.time).run()
    requests.cancel()
    await store.close()
    assert len(resumed) == len(set(resumed)) == 50
