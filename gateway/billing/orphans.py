"""Recovery of payments whose worker is gone: settle what was served, waive the rest, credit what was paid upfront."""

import asyncio
import logging
from collections.abc import Callable

from gateway.billing.definitions import SettlementTimes
from gateway.billing.journal import BEFORE_SETTLING, Entry, IllegalTransitionError
from gateway.billing.settlement import Settlements
from gateway.billing.storage import retried_writes
from gateway.billing.storage.store import Store, StoreUnavailableError

log = logging.getLogger(__name__)


class OrphanRecovery:
    """Adopts orphaned payments from the journal and closes them. ``clock`` is Unix time."""

    def __init__(
        self, store: Store, settlements: Settlements, times: SettlementTimes, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._settlements = settlements
        self._times = times
        self._clock = clock

    async def run(self) -> None:
        """Close every orphaned payment, then prune finished ones past their retention.

        Released ones are not retained: their payer may present them again until the deadline, and nobody after it.
        Requests are served between any two orphans, of which an outage of the facilitator leaves thousands.
        """
        now = self._clock()
        try:
            for entry in await self._store.adopt(now):
                await self._close(entry)
                await asyncio.sleep(0)
            await self._store.prune(now - self._times.retain_seconds, now)
        except StoreUnavailableError as error:
            log.warning("journal not swept", extra={"reason": str(error)})

    async def _close(self, entry: Entry) -> None:
        """An entry that cannot be written now is retried in the background, so that it does not hold up the others."""
        log.warning("orphaned payment", extra={"payment": entry.id, "state": entry.state.value})
        if entry.state not in BEFORE_SETTLING and not entry.unserved:
            self._settlements.resume(entry)
            return
        state, changes = entry.uncharged_end("its worker was lost before the answer was complete")
        try:
            await self._store.move(entry, state, **changes)
        except StoreUnavailableError as error:
            self._settlements.detach(retried_writes.retry(error, self._store.move, entry, state, **changes))
        except IllegalTransitionError as error:
            log.info("payment is not an orphan", extra={"payment": entry.id, "state": error.origin.value})
