"""Turns in which large requests are processed.

Decoding, checking and translating a body of many megabytes each take a part of a second of the event loop. So that all
others are served in between, at most one large request takes one such step per iteration of the loop.
"""

import asyncio

LARGE_BYTES = 64 * 1024
"""Size of a body above which a request takes turns: a step with a smaller one takes a few milliseconds."""


class Turns:
    """The turns of one process."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def next(self, size: int) -> None:
        """Wait for the next turn of a request whose body has ``size`` bytes; a small one does not wait."""
        if size > LARGE_BYTES:
            async with self._lock:
                await asyncio.sleep(0)
