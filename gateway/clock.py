"""The trusted time, by which answers are signed and payments expire.

Inside an enclave nothing disciplines the system clock and the host is not trusted, so the time comes from the
hypervisor: the clock is synchronized every few minutes to the timestamp of an attestation document from the NSM, and
runs on the monotonic clock in between (facts/enclave.md 2.3, 11). Its uncertainty is known at any time: half the
duration of the call, plus the drift since. Outside an enclave it is the system clock.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

from prometheus_client import CollectorRegistry, Gauge

from gateway.nsm import NsmError

TOLERANCE_SECONDS = 30.0
"""The uncertainty that deadlines and signatures tolerate. Beyond it paid routes stop."""
SYNC_SECONDS = 240.0
RETRY_SECONDS = 10.0
SYNC_TIMEOUT_SECONDS = 10.0
MAX_DRIFT = 500e-6
"""In seconds per second: ten times the drift that has been observed in enclaves."""
log = logging.getLogger(__name__)


class Clock:
    """Calling it gives the time in whole seconds since the epoch.

    ``source`` returns the hypervisor's time in seconds; it blocks and raises NsmError. Until it has returned once, and
    without a source, the time is that of ``system``.

    The time goes backwards in two cases only: until the source has returned once, and, without a source, when
    ``system`` is set back by more than ``TOLERANCE_SECONDS``, which corrects it.
    """

    def __init__(
        self,
        source: Callable[[], float] | None = None,
        *,
        system: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clock")
        self._system = system
        self._monotonic = monotonic
        self._offset: float | None = None
        self._error = math.inf
        self._synced_at = 0.0
        self._latest = 0

    def __call__(self) -> int:
        now = int(self._now())
        if self._source is not None and self._offset is None:
            return now
        if now > self._latest or (self._source is None and now < self._latest - TOLERANCE_SECONDS):
            self._latest = now
        return self._latest

    @property
    def uncertainty(self) -> float:
        """The greatest possible error in seconds: infinite until the first synchronization, 0 without a source."""
        if self._source is None:
            return 0.0
        held_back = max(0.0, self._latest - self._now())
        return self._error + MAX_DRIFT * (self._monotonic() - self._synced_at) + held_back

    @property
    def skew(self) -> float:
        """Seconds by which the system clock is ahead of this one."""
        return self._system() - self._now()

    def reasons(self) -> list[str]:
        """Why this clock cannot be trusted for signatures and payments now; empty if it can."""
        if self.uncertainty <= TOLERANCE_SECONDS:
            return []
        if self._offset is None:
            return ["the clock has no source: the NSM has not returned the time yet"]
        return [f"the clock may be off by more than {TOLERANCE_SECONDS:g} s"]

    async def sync(self) -> None:
        """Query the source, if any, and adopt its time unless the call took too long to reduce the uncertainty.

        The source has a thread of its own: one that hangs blocks nothing else and is not called concurrently. Raises
        NsmError.
        """
        if self._source is None:
            return
        before = self._monotonic()
        source_time = await asyncio.get_running_loop().run_in_executor(self._thread, self._source)
        after = self._monotonic()
        if (after - before) / 2 <= self.uncertainty:
            self._offset = source_time - (before + after) / 2
            self._error = (after - before) / 2
            self._synced_at = after

    @asynccontextmanager
    async def synchronized(self) -> AsyncIterator[None]:
        """Synchronize before entering and every few minutes while inside; failures show in ``reasons``."""
        delay = await self._try_sync()
        task = asyncio.create_task(self._sync_forever(delay))
        try:
            yield
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def register(self, registry: CollectorRegistry) -> None:
        """Add the clock's gauges to the metrics."""
        for name, text, value in (
            ("skew", "Lead of the system clock over the trusted time", lambda: self.skew),
            ("uncertainty", "Uncertainty of the trusted time", lambda: self.uncertainty),
        ):
            Gauge(f"gateway_clock_{name}_seconds", text, registry=registry).set_function(value)

    def _now(self) -> float:
        return self._system() if self._offset is None else self._monotonic() + self._offset

    async def _sync_forever(self, delay: float) -> None:
        while True:
            await asyncio.sleep(delay)
            delay = await self._try_sync()

    async def _try_sync(self) -> float:
        """Synchronize once; return the seconds until the next time."""
        try:
            async with asyncio.timeout(SYNC_TIMEOUT_SECONDS):
                await self.sync()
        except TimeoutError:
            log.warning("the NSM does not return the time: no answer")
            return RETRY_SECONDS
        except Exception as error:
            log.warning("the NSM does not return the time: %s", error, exc_info=not isinstance(error, NsmError))
            return RETRY_SECONDS
        return SYNC_SECONDS
