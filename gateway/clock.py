"""The time that is signed and that payments expire by.

Inside an enclave nobody disciplines the system clock and the host may not be believed, so the time comes from the
hypervisor: now and then the NSM is asked for an attestation document, whose timestamp is the hypervisor's, and in
between the monotonic clock counts on (facts/enclave.md 2.3, 11). How far that can be off is known at every moment:
half of the call's duration, plus the drift since. Outside an enclave it is the system clock.
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
"""What deadlines and signatures can bear. Past it paid routes stop."""
ASK_SECONDS = 240.0
ASK_AGAIN_SECONDS = 10.0
START_SECONDS = 10.0
MAX_DRIFT = 500e-6
"""Seconds per second: an order of magnitude more than an enclave's clock has been seen to drift."""
log = logging.getLogger(__name__)


class Clock:
    """Whole seconds since the epoch when called. They never go backwards, so neither do the times in signatures.

    ``source`` is the hypervisor's time in seconds; it blocks and raises NsmError. Without it the clock is ``system``.
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
        self._asked_at = 0.0
        self._latest = 0

    def __call__(self) -> int:
        now = int(self._system() if self._offset is None else self._monotonic() + self._offset)
        if self._source is not None and self._offset is None:
            return now
        if now > self._latest:
            self._latest = now
        return self._latest

    @property
    def uncertainty(self) -> float:
        """How far the clock may be off, in seconds; infinite until the source has answered. 0 without a source."""
        if self._source is None:
            return 0.0
        held_back = max(0.0, self._latest - self._now())
        return self._error + MAX_DRIFT * (self._monotonic() - self._asked_at) + held_back

    @property
    def skew(self) -> float:
        """How far the system clock is ahead of this one, in seconds."""
        return self._system() - self._now()

    def reasons(self) -> list[str]:
        """Why nothing may be signed or paid by this clock now; empty when it can."""
        if self.uncertainty <= TOLERANCE_SECONDS:
            return []
        if self._offset is None:
            return ["the clock has no source: the NSM has not told the time yet"]
        return [f"the clock may be off by more than {TOLERANCE_SECONDS:g} s"]

    async def ask(self) -> None:
        """Ask the source once. An answer is taken unless it came too slowly to be an improvement. Raises NsmError.

        It is asked from a thread of its own: one that hangs keeps nobody else waiting, and is not asked twice at once.
        """
        if self._source is None:
            return
        before = self._monotonic()
        told = await asyncio.get_running_loop().run_in_executor(self._thread, self._source)
        after = self._monotonic()
        if (after - before) / 2 <= self.uncertainty:
            self._offset = told - (before + after) / 2
            self._error = (after - before) / 2
            self._asked_at = after

    @asynccontextmanager
    async def kept(self) -> AsyncIterator["Clock"]:
        """Ask before entering, and every few minutes inside. A source that does not answer is for ``reasons``."""
        if self._source is None:
            yield self
            return
        pause = await self._try_to_ask()
        keeping = asyncio.create_task(self._keep(pause))
        try:
            yield self
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    def register(self, registry: CollectorRegistry) -> None:
        """Add the clock's gauges to the metrics."""
        for name, text, value in (
            ("skew", "How far the system clock is ahead of the trusted time", lambda: self.skew),
            ("uncertainty", "How far the trusted time may be off", lambda: self.uncertainty),
        ):
            Gauge(f"gateway_clock_{name}_seconds", text, registry=registry).set_function(value)

    def _now(self) -> float:
        return self._system() if self._offset is None else self._monotonic() + self._offset

    async def _keep(self, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)
            pause = await self._try_to_ask()

    async def _try_to_ask(self) -> float:
        """How long to wait until the next time."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.ask()
        except (NsmError, TimeoutError) as error:
            log.warning("the NSM does not tell the time: %s", str(error) or "no answer")
            return ASK_AGAIN_SECONDS
        return ASK_SECONDS
