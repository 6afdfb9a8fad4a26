"""Journal entries that could not be appended to the sink, retried until they are."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.billing.journal import Entry
from gateway.billing.storage.sink import SinkTimeoutError, SinkUnavailableError

log = logging.getLogger(__name__)

_FIRST_BACKOFF = 1.0
_MAX_BACKOFF = 15.0
_CLOSE_TIMEOUT = 5.0
_MAX_ENTRIES = 10_000


class SinkBacklog:
    """The latest entry of each payment that ``append`` failed for. ``append`` raises SinkUnavailableError.

    ``timed_out`` is True from a timeout of the sink until its next response, so that other callers need not wait for
    another timeout.
    """

    def __init__(self, append: Callable[[Entry], Awaitable[None]]) -> None:
        self._append = append
        self._entries: dict[bytes, Entry] = {}
        self._task: asyncio.Task[None] | None = None
        self.timed_out = False

    def add(self, entry: Entry) -> None:
        """Queue an entry; beyond the maximum the oldest is dropped."""
        self._entries.pop(entry.key, None)
        self._entries[entry.key] = entry
        if len(self._entries) > _MAX_ENTRIES:
            dropped = self._entries.pop(next(iter(self._entries)))
            log.error("journal entry dropped", extra={"payment": dropped.id})
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Try once more, for a few seconds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._drain()

    async def _run(self) -> None:
        backoff = _FIRST_BACKOFF
        while self._entries:
            await asyncio.sleep(backoff)
            await self._drain()
            backoff = min(2 * backoff, _MAX_BACKOFF)

    async def _drain(self) -> None:
        try:
            while self._entries:
                entry = next(iter(self._entries.values()))
                await self._append(entry)
                self.timed_out = False
                if self._entries.get(entry.key) is entry:
                    del self._entries[entry.key]
        except SinkUnavailableError as error:
            self.timed_out = isinstance(error, SinkTimeoutError)
