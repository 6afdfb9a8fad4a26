"""A circuit breaker per model: while its vendor cannot serve it, callers hear so at once, and one of them tries.

Only what says so counts: no connection, no answer in time, 5xx. An answer that refuses one request or one key is a sign
of life, and a model that is down says nothing of the vendor's others, so nobody's mistake and no bad model becomes an
error for others (practice.md 6 row 22).
"""

import time
from collections.abc import Callable

from gateway.openai_api.errors import GatewayError, upstream_overloaded

_DOWN = frozenset({"upstream_unreachable", "upstream_timeout", "upstream_overloaded", "upstream_error"})


class Breaker:
    """Opens after ``threshold`` failures in a row, for ``cooldown`` seconds of ``clock``; then one call is a probe,
    and another one each time that the last has not told anything for as long: an answer may take minutes to begin."""

    def __init__(self, threshold: int = 10, cooldown: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold = threshold
        self._cooldown = cooldown
        self._clock = clock
        self._failures = 0
        self._opens_again_at = 0.0

    @property
    def open(self) -> bool:
        """Calls are refused now, a probe apart."""
        return self._failures >= self._threshold

    @property
    def in_use(self) -> bool:
        """It is open, and not only because nobody has asked for so long that the next call would be a probe."""
        return self.open and self._clock() < self._opens_again_at + self._cooldown

    def enter(self) -> bool:
        """Ask to make a call; raises 503 with the time that is left. Every call let in must be ``ended``, and told
        there whether it is a probe."""
        if not self.open:
            return False
        now = self._clock()
        if now < self._opens_again_at:
            raise _refusal(max(self._opens_again_at - now, 1.0))
        self._opens_again_at = now + self._cooldown
        return True

    def ended(self, error: BaseException | None, *, probe: bool = False) -> None:
        """A call that was let in ended, with ``error`` or None. A cancelled one says nothing of the vendor, and a
        cancelled probe leaves its turn to the next call."""
        if error is None or (isinstance(error, GatewayError) and error.code not in _DOWN):
            self._failures = 0
        elif isinstance(error, GatewayError):
            self._failures += 1
            self._opens_again_at = self._clock() + self._cooldown
        elif probe:
            self._opens_again_at = self._clock()


def _refusal(seconds: float) -> GatewayError:
    error = upstream_overloaded(seconds)
    error.retryable = False
    return error
