"""Background work that is repeated for as long as the process runs."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)


class PeriodicTask:
    """Runs ``work`` now, and again ``interval()`` seconds after each run or once ``wake`` is set. Errors are logged.

    ``first_run`` is set when the first run has ended.
    """

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        interval: Callable[[], float],
        wake: asyncio.Event | None = None,
    ) -> None:
        self.first_run = asyncio.Event()
        self._work = work
        self._interval = interval
        self._wake = wake or asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                await self._work()
            except Exception:
                log.exception("a background task failed")
            self.first_run.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval()):
                    await self._wake.wait()
            self._wake.clear()

    def cancel(self) -> None:
        self._task.cancel()

    async def stop(self) -> None:
        """Cancel the task and wait until it has ended."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
