"""The time that a payer's deadline is held against: the gateway's, or the chain's where that is later.

The chain judges the deadline in the end. A block is never from the future, so a clock behind the latest block is wrong
by at least that much; one that is ahead may only have seen no block for a while (facts/x402.md 4 row 4).
"""

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

TOLERANCE_SECONDS = 30


class ChainClock:
    """Unix time when called. ``clock`` is the gateway's own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.lag = 0.0

    def __call__(self) -> float:
        return self._clock() + self.lag

    def observe(self, block_time: int) -> None:
        """Take the latest block's timestamp, just read.

        ``lag`` is how far the gateway's clock is behind it, in seconds.
        """
        self.lag = max(0.0, block_time - self._clock())
        if self.lag > TOLERANCE_SECONDS:
            log.error("the clock is behind the chain's", extra={"seconds": round(self.lag)})
