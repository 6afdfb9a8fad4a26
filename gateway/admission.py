"""Admission control: a limit on concurrent requests, and a bounded fair queue for those that exceed it.

Queued requests are served round-robin by upstream, then by client address, then by caller. One slow upstream holds at
most its share of the slots while others are in use. A full queue evicts the last request of the longest branch for one
of a shorter branch.
"""

import asyncio
import math
import time
from collections.abc import Callable
from types import TracebackType

from gateway.fair_queue import FairQueue
from gateway.openai_api.errors import DEFAULT_RETRY_AFTER, GatewayError, gateway_unavailable

MAX_WAIT_SECONDS = 30.0
UPSTREAM_SHARE = 0.75
RECENT_SECONDS = 60.0

Caller = Callable[[], tuple[str, ...]]
"""The caller's keys in the fair queue (address, identity); called only for a request that has to wait."""


class Admission:
    """A limited number of slots, and a bounded queue for them.

    One upstream may hold ``share`` of the slots while another one is in demand, or was in the last ``RECENT_SECONDS``;
    the only upstream in use may hold all.
    """

    def __init__(self, slots: int, queue: int, *, share: float = UPSTREAM_SHARE) -> None:
        self._slots = self._free = slots
        self._queue_limit = queue
        self._max_per_upstream = max(1, math.ceil(share * slots))
        self._held: dict[str, int] = {}
        self._last_demand: dict[str, float] = {}
        self._last_waits: dict[str, float] = {}
        self._queue: FairQueue[Slot] = FairQueue()
        self._idle = asyncio.Event()

    @property
    def active(self) -> int:
        """The number of slots in use."""
        return self._slots - self._free

    @property
    def waiting(self) -> int:
        """The number of requests in the queue."""
        return self._queue.size

    def slot(self, upstream: str, caller: Caller) -> "Slot":
        """A slot for one request, an async context manager; entering it raises 503 with Retry-After on overload."""
        return Slot(self, upstream, caller)

    async def wait_idle(self) -> None:
        """Wait until no slot is in use."""
        while self.active:
            self._idle.clear()
            await self._idle.wait()

    def try_acquire(self, slot: "Slot") -> bool:
        """Acquire a free slot at once, unless requests to the same upstream are queued."""
        if slot.upstream in self._queue or not self._may_acquire(slot.upstream):
            return False
        self._take(slot.upstream)
        return True

    async def acquire(self, slot: "Slot") -> None:
        """Queue for a slot. Raises 503 on overload, ConnectionResetError if the client disconnects."""
        path = (slot.upstream, *slot.caller())
        if slot.upstream not in self._queue:
            self._last_waits.pop(slot.upstream, None)
        self._make_room(path)
        self._last_demand[slot.upstream] = queued_at = time.monotonic()
        slot.granted = asyncio.get_running_loop().create_future()
        slot.path = path
        self._queue.add(path, slot)
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await slot.granted
        except TimeoutError:
            self._withdraw(slot)
            self._last_waits[slot.upstream] = MAX_WAIT_SECONDS
            raise self._overloaded(slot.upstream) from None
        except BaseException:
            self._withdraw(slot)
            raise
        self._last_waits[slot.upstream] = time.monotonic() - queued_at

    def reject(self, slot: "Slot", error: Exception) -> None:
        """Remove a queued request and raise ``error`` in it; no effect on one that is not queued."""
        if slot.path is not None:
            self._queue.remove(slot.path, slot)
            slot.path = None
            if not slot.granted.done():
                slot.granted.set_exception(error)

    def release(self, upstream: str) -> None:
        """Return a slot, and grant free slots to the queue."""
        self._free += 1
        self._held[upstream] -= 1
        self._last_demand[upstream] = time.monotonic()
        if self._queue.size:
            self._grant()
        if self._free == self._slots:
            self._idle.set()

    def _take(self, upstream: str) -> None:
        self._free -= 1
        self._held[upstream] = self._held.get(upstream, 0) + 1

    def _may_acquire(self, upstream: str) -> bool:
        if not self._free:
            return False
        return self._held.get(upstream, 0) < self._max_per_upstream or not self._others_in_demand(upstream)

    def _others_in_demand(self, upstream: str) -> bool:
        """Whether another upstream holds slots, or was in demand recently: slots are reserved for it then."""
        if any(count for name, count in self._held.items() if name != upstream):
            return True
        recent = time.monotonic() - RECENT_SECONDS
        return any(at > recent for name, at in self._last_demand.items() if name != upstream)

    def _grant(self) -> None:
        while (slot := self._queue.pop(self._may_acquire)) is not None:
            slot.path = None
            if not slot.granted.done():
                self._take(slot.upstream)
                slot.granted.set_result(None)

    def _make_room(self, path: tuple[str, ...]) -> None:
        """Evict a request from a full queue; raises 503 if none may be evicted for a new one under ``path``."""
        if self._queue.size >= self._queue_limit:
            evicted = self._queue.eviction_candidate(path)
            if evicted is None:
                raise self._overloaded(path[0])
            self.reject(evicted, self._overloaded(evicted.upstream))

    def _overloaded(self, upstream: str) -> GatewayError:
        """503, with the last wait of a request to the upstream (granted or timed out) as Retry-After."""
        wait = max(DEFAULT_RETRY_AFTER, self._last_waits.get(upstream, 0.0))
        return gateway_unavailable("overloaded", "The gateway is busy", retry_after=wait)

    def _withdraw(self, slot: "Slot") -> None:
        """Leave the queue; a slot granted in the meantime is released."""
        granted = slot.granted
        if slot.path is not None:
            self._queue.remove(slot.path, slot)
            slot.path = None
        elif not granted.cancelled() and granted.exception() is None:
            self.release(slot.upstream)


class Slot:
    """The slot of one request. While it is queued, ``path`` is its place in the queue; ``granted`` ends the wait."""

    __slots__ = ("_admission", "caller", "granted", "path", "upstream")

    def __init__(self, admission: Admission, upstream: str, caller: Caller) -> None:
        self._admission = admission
        self.upstream = upstream
        self.caller = caller
        self.granted: asyncio.Future[None]
        self.path: tuple[str, ...] | None = None

    async def __aenter__(self) -> None:
        if not self._admission.try_acquire(self):
            await self._admission.acquire(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.release(self.upstream)

    def cancel(self) -> None:
        """Reject the request with ConnectionResetError if it is still queued: its client has disconnected."""
        self._admission.reject(self, ConnectionResetError("the client disconnected while queued"))
