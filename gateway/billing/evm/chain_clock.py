"""The clock that signed deadlines are checked against: the gateway's, or the chain's where that is later.

The chain enforces the deadline. No block is from the future, so a clock behind the latest block is slow by at least the
difference; a clock ahead of it may be right, since blocks can be old (facts/x402.md 4 row 4).
"""

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

TOLERANCE_SECONDS = 30


class ChainClock:
    """Returns Unix time when called. ``clock`` is the gateway's own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.lag = 0.0

    def __call__(self) -> float:
        return self._clock() + self.lag

    def observe(self, block_time: int) -> None:
        """Set ``lag``, in seconds, to how far the gateway's clock is behind the latest block's timestamp."""
        self.lag = max(0.0, block_time - self._clock())
        if self.lag > TOLERANCE_SECONDS:
            log.error("the clock is behind the chain's", extra={"seconds": round(self.lag)})
