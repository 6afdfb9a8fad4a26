"""Turns in which large requests are processed.

Decoding, checking and translating a body of many megabytes each take a part of a second of the event loop. So that all
others are served in between, each such step waits for a turn.
"""

import asyncio
from collections import deque

LARGE_BYTES = 64 * 1024
"""Size of a body above which a request takes turns: a step with a smaller one takes a few milliseconds."""
TURN_BYTES = 1024 * 1024
"""Most bytes of all requests that get their turn in one iteration of the event loop; one alone may have more."""


class Turns:
    """The turns of one process, given in the order of arrival."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def next(self, size: int) -> None:
        """Wait for the next turn of a request whose body has ``size`` bytes; a small one does not wait."""
        if size <= LARGE_BYTES:
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._give)
        self._waiting.append((size, turn))
        await turn

    def _give(self) -> None:
        """Give the turns of one iteration: to the first that waits, and to those after it that fit beside it."""
        given = 0
        while self._waiting and (not given or given + self._waiting[0][0] <= TURN_BYTES):
            size, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                given += size
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._give)
