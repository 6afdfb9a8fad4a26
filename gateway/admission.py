"""How many requests work at once, and how many may wait for it, in fair order.

Where places are scarce, turns are taken: by upstreams, among those of one upstream by callers' addresses, and among
those of one address by callers. One slow vendor holds at most its share of the places while others are in use, and a
full queue makes room for the newcomer of a short line at the end of the longest.
"""

import asyncio
import math
import time
from collections.abc import Callable
from types import TracebackType

from gateway.fair_queue import Turns
from gateway.openai_api.errors import DEFAULT_RETRY_AFTER, GatewayError, gateway_unavailable

MAX_WAIT_SECONDS = 30.0
UPSTREAM_SHARE = 0.75
RECENT_SECONDS = 60.0

Caller = Callable[[], tuple[str, ...]]
"""Tells who asks, from the widest to the closest (address, identity); called only when he has to wait."""


class Admission:
    """A bounded number of places and a bounded queue before them.

    ``share`` of the places is what one upstream may hold while another one is wanted, or was ``RECENT_SECONDS`` ago;
    the only upstream in use may hold all.
    """

    def __init__(self, places: int, queue: int, *, share: float = UPSTREAM_SHARE) -> None:
        self._places = self._free = places
        self._queue_limit = queue
        self._most = max(1, math.ceil(share * places))
        self._held: dict[str, int] = {}
        self._wanted_at: dict[str, float] = {}
        self._last_waits: dict[str, float] = {}
        self._queue: Turns[Place] = Turns()
        self._emptied = asyncio.Event()

    @property
    def active(self) -> int:
        """Places taken."""
        return self._places - self._free

    @property
    def waiting(self) -> int:
        return self._queue.size

    def place(self, upstream: str, caller: Caller) -> "Place":
        """A place for one request, taken by ``async with``; that raises 503 with Retry-After when there is none."""
        return Place(self, upstream, caller)

    async def wait_idle(self) -> None:
        """Return once nobody has a place."""
        while self.active:
            self._emptied.clear()
            await self._emptied.wait()

    def take(self, place: "Place") -> bool:
        """Take a free place at once, unless others of the upstream wait for theirs."""
        upstream = place.upstream
        held = self._held.get(upstream, 0)
        plenty = self._free and held < self._most and not self._queue.size
        if plenty or (upstream not in self._queue and self._has_room(upstream)):
            self._free -= 1
            self._held[upstream] = held + 1
            return True
        return False

    async def wait(self, place: "Place") -> None:
        """Take a place when it is this one's turn. Raises 503, and ConnectionResetError for a client that left."""
        path = (place.upstream, *place.caller())
        if place.upstream not in self._queue:
            self._last_waits.pop(place.upstream, None)
        self._make_room(path)
        self._wanted_at[place.upstream] = joined = time.monotonic()
        place.turn = asyncio.get_running_loop().create_future()
        place.path = path
        self._queue.add(path, place)
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await place.turn
        except TimeoutError:
            self._withdraw(place)
            self._last_waits[place.upstream] = MAX_WAIT_SECONDS
            raise self._overloaded(place.upstream) from None
        except BaseException:
            self._withdraw(place)
            raise
        self._last_waits[place.upstream] = time.monotonic() - joined

    def remove(self, place: "Place", error: Exception) -> None:
        """Let one who waits know that he waits in vain."""
        if place.path is not None:
            self._queue.remove(place.path, place)
            place.path = None
            if place.turn is not None and not place.turn.done():
                place.turn.set_exception(error)

    def give(self, upstream: str) -> None:
        """Give a place back; whoever is next and may have it has it from this moment on."""
        self._free += 1
        self._held[upstream] -= 1
        self._wanted_at[upstream] = time.monotonic()
        if self._queue.size:
            self._hand_out()
        if self._free == self._places:
            self._emptied.set()

    def _has_room(self, upstream: str) -> bool:
        if not self._free:
            return False
        return self._held.get(upstream, 0) < self._most or not self._others_wanted(upstream)

    def _others_wanted(self, upstream: str) -> bool:
        """Another upstream is at work, waited for, or was so lately: places must be left for it."""
        if any(count for name, count in self._held.items() if name != upstream):
            return True
        lately = time.monotonic() - RECENT_SECONDS
        return any(at > lately for name, at in self._wanted_at.items() if name != upstream)

    def _hand_out(self) -> None:
        while (place := self._queue.next(self._has_room)) is not None:
            place.path = None
            if place.turn is not None and not place.turn.done():
                self._free -= 1
                self._held[place.upstream] = self._held.get(place.upstream, 0) + 1
                place.turn.set_result(None)

    def _make_room(self, path: tuple[str, ...]) -> None:
        """Raises 503 when the queue is full of others with no better right than the newcomer's."""
        if self._queue.size >= self._queue_limit:
            last = self._queue.crowded_out(path)
            if last is None:
                raise self._overloaded(path[0])
            self.remove(last, self._overloaded(last.upstream))

    def _overloaded(self, upstream: str) -> GatewayError:
        """With the wait of the upstream's last one that got a place, or gave up, since somebody has always waited."""
        wait = max(DEFAULT_RETRY_AFTER, self._last_waits.get(upstream, 0.0))
        return gateway_unavailable("overloaded", "The gateway is busy", retry_after=wait)

    def _withdraw(self, place: "Place") -> None:
        """Stop waiting; a place that was handed over in the same moment goes to the next one."""
        turn = place.turn
        if place.path is not None:
            self._queue.remove(place.path, place)
            place.path = None
        elif turn is not None and turn.done() and not turn.cancelled() and turn.exception() is None:
            self.give(place.upstream)


class Place:
    """One request's place: ``turn`` and ``path`` are its wait and where in the queue it stands, if it does."""

    __slots__ = ("_admission", "caller", "path", "turn", "upstream")

    def __init__(self, admission: Admission, upstream: str, caller: Caller) -> None:
        self._admission = admission
        self.upstream = upstream
        self.caller = caller
        self.turn: asyncio.Future[None] | None = None
        self.path: tuple[str, ...] | None = None

    async def __aenter__(self) -> None:
        if not self._admission.take(self):
            await self._admission.wait(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.give(self.upstream)

    def leave(self) -> None:
        """The client is gone: whoever still waits for this place gets ConnectionResetError."""
        self._admission.remove(self, ConnectionResetError("the client left the queue"))
