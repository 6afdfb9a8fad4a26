"""Journal entries that the sink has not taken yet, sent again until it does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.billing.journal import Entry
from gateway.billing.storage.sink import SinkSilentError, SinkUnavailableError

log = logging.getLogger(__name__)

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 15.0
_CLOSING_SECONDS = 5.0
_MAX_ENTRIES = 10_000


class SinkBacklog:
    """Of each payment the last entry that ``append`` did not take. ``append`` raises SinkUnavailableError.

    ``silent`` from a time-out of the sink's to the next entry that it takes: until then nobody else needs to wait for
    another time-out.
    """

    def __init__(self, append: Callable[[Entry], Awaitable[None]]) -> None:
        self._append = append
        self._entries: dict[bytes, Entry] = {}
        self._sending: asyncio.Task[None] | None = None
        self.silent = False

    def add(self, entry: Entry) -> None:
        """The oldest has to go for one that is too many."""
        self._entries.pop(entry.key, None)
        self._entries[entry.key] = entry
        if len(self._entries) > _MAX_ENTRIES:
            lost = self._entries.pop(next(iter(self._entries)))
            log.error("journal entry given up", extra={"payment": lost.id})
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_later())

    async def close(self) -> None:
        """Tries once more, and not for long."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._send()

    async def _send_later(self) -> None:
        wait = _FIRST_WAIT
        while self._entries:
            await asyncio.sleep(wait)
            await self._send()
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _send(self) -> None:
        try:
            while self._entries:
                entry = next(iter(self._entries.values()))
                await self._append(entry)
                self.silent = False
                if self._entries.get(entry.key) is entry:
                    del self._entries[entry.key]
        except SinkSilentError:
            self.silent = True
        except SinkUnavailableError:
            self.silent = False
