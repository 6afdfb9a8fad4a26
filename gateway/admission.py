"""How many requests work at once, and how many may wait for it, in the order they came."""

import asyncio
from collections import deque
from types import TracebackType

from gateway.openai_api.errors import Fault, GatewayError

MAX_WAIT_SECONDS = 30.0


class Admission:
    """A bounded number of places and a bounded queue before them; an async context manager."""

    def __init__(self, places: int, queue: int) -> None:
        self._free = places
        self._queue_limit = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.active = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def __aenter__(self) -> None:
        """Take a place; raises 503 with Retry-After when the queue is full or does not move."""
        if self._free > 0 and not self._waiting:
            self._free -= 1
        else:
            await self._wait()
        self.active += 1
        self._idle.clear()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.active -= 1
        if not self.active:
            self._idle.set()
        self._pass_on()

    async def wait_idle(self) -> None:
        """Return once nobody has a place."""
        await self._idle.wait()

    async def _wait(self) -> None:
        if len(self._waiting) >= self._queue_limit:
            raise overloaded()
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await place
        except TimeoutError:
            self._leave(place)
            raise overloaded() from None
        except asyncio.CancelledError:
            self._leave(place)
            raise

    def _leave(self, place: asyncio.Future[None]) -> None:
        """Stop waiting; a place that was handed over in the same moment goes to the next one."""
        if place.done() and not place.cancelled():
            self._pass_on()
        elif place in self._waiting:
            self._waiting.remove(place)

    def _pass_on(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


def overloaded() -> GatewayError:
    return GatewayError(
        "The gateway is busy",
        status=503,
        type="server_error",
        code="overloaded",
        fault=Fault.GATEWAY,
        retry_after=1.0,
    )
