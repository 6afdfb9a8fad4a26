"""Whether payments can be recorded, which only a write to the journal tells."""

import asyncio
import logging
import time

from gateway.billing.storage.store import Store, StoreUnavailableError

log = logging.getLogger(__name__)

_TIMEOUT = 20.0
"""Seconds after which a journal that does not respond counts as hung. Longer than it waits for other processes."""
_SLOW_FAILURE_SECONDS = 5.0
"""A journal that takes longer to fail, as one that another process keeps locked, counts as hung too."""
_RETRY_SECONDS = 1.0


class JournalCheck:
    """The state of ``store``, checked every ``seconds``, and more often while it fails.

    ``reason`` is why no payment can be recorded, None if one can. ``hangs``: requests would wait long for the failure.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self.reason: str | None = None
        self.hangs = False

    def interval(self) -> float:
        """Seconds until the next check."""
        return self._seconds if self.reason is None else _RETRY_SECONDS

    async def run(self) -> None:
        reason, hangs, started = None, False, time.monotonic()
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._store.check()
        except StoreUnavailableError as error:
            reason = f"no payment can be recorded: {error}"
            hangs = time.monotonic() - started > _SLOW_FAILURE_SECONDS
        except TimeoutError:
            reason, hangs = "no payment can be recorded: the journal does not respond", True
        if reason is not None and reason != self.reason:
            log.error("journal not usable", extra={"reason": reason})
        self.reason, self.hangs = reason, hangs
