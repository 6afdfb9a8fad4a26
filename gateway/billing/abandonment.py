"""A limit on the answers that payers leave unpaid (facts/x402.md 4 row 5).

A client that leaves before the first byte is not charged, although the vendor bills the answer.
"""

import time
from collections.abc import Callable
from decimal import Decimal

from gateway.billing.definitions import Exposure


class AbandonedAnswers:
    """The cost of the answers that each payer left unpaid, in USD.

    Every charge reduces it, and so does time: by ``abandoned_usd`` per ``abandoned_seconds``. Known to this worker
    only. ``unpaid`` has the amounts, each with the reading of ``clock`` (monotonic) as of which it is, and is empty
    while nobody has left anything.
    """

    def __init__(self, exposure: Exposure, clock: Callable[[], float] = time.monotonic) -> None:
        self.unpaid: dict[bytes, tuple[Decimal, float]] = {}
        self._limit, self._share = exposure.abandoned_usd, exposure.abandoned_share
        self._per_second = exposure.abandoned_usd / exposure.abandoned_seconds
        self._clock = clock

    def add(self, payer: bytes, usd: Decimal) -> None:
        """Record an answer that cost ``usd`` and was not charged."""
        for known in list(self.unpaid):
            self._reduce(known, Decimal(0))
        self.unpaid[payer] = self._reduce(payer, Decimal(0)) + usd, self._clock()

    def charged(self, payer: bytes, usd: Decimal) -> None:
        """Record a charge."""
        self._reduce(payer, usd)

    def seconds_to_wait(self, payer: bytes, settled: Decimal) -> float:
        """The time until a payer that has settled so many USD in all is served again; 0 if it is now.

        Changes nothing, so that the thread of a store can call it.
        """
        amount, at = self.unpaid.get(payer, (Decimal(0), 0.0))
        seconds = (amount - self._limit - self._share * settled) / self._per_second
        return max(0.0, float(seconds) - (self._clock() - at))

    def _reduce(self, payer: bytes, usd: Decimal) -> Decimal:
        """Reduce a payer's amount by ``usd`` and by the time since its last change; return what is left."""
        if payer not in self.unpaid:
            return Decimal(0)
        amount, at = self.unpaid[payer]
        now = self._clock()
        left = amount - usd - self._per_second * Decimal(now - at)
        if left > 0:
            self.unpaid[payer] = left, now
            return left
        del self.unpaid[payer]
        return Decimal(0)
