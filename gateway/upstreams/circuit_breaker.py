"""A circuit breaker per model: while its vendor cannot serve it, calls fail fast except for probes.

Only unavailability counts as a failure: no connection, no response in time, 5xx. A response that refuses one request or
one key is a success, and a model that is down does not affect the vendor's others, so neither a caller's mistake nor a
bad model becomes an error for others (practice.md 6 row 22).
"""

import time
from collections.abc import Callable

from gateway.openai_api.errors import GatewayError, upstream_overloaded

_DOWN = frozenset({"upstream_unreachable", "upstream_timeout", "upstream_overloaded", "upstream_error"})


class CircuitBreaker:
    """Opens after ``threshold`` consecutive failures, for ``cooldown`` seconds of ``clock``; then it is half-open.

    One caller who tries again and again should not reach the threshold alone.

    Half-open, it admits one probe, and another one whenever the last has had no result for ``cooldown`` seconds: a
    response may take minutes to begin.
    """

    def __init__(self, threshold: int = 30, cooldown: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold = threshold
        self._cooldown = cooldown
        self._clock = clock
        self._failures = 0
        self._half_open_at = 0.0

    @property
    def open(self) -> bool:
        """Calls are refused, probes excepted."""
        return self._failures >= self._threshold

    @property
    def active(self) -> bool:
        """Open, unless it has been half-open without a probe for longer than ``cooldown``."""
        return self.open and self._clock() < self._half_open_at + self._cooldown

    def acquire(self) -> bool:
        """Admit a call; true when it is a probe. Raises 503 with the remaining time as Retry-After.

        Every admitted call must be followed by ``release``.
        """
        if not self.open:
            return False
        now = self._clock()
        if now < self._half_open_at:
            raise _refusal(max(self._half_open_at - now, 1.0))
        self._half_open_at = now + self._cooldown
        return True

    def release(self, error: BaseException | None, *, probe: bool = False) -> None:
        """Record the result of an admitted call, ``error`` or None for success.

        A cancelled call counts as neither; after a cancelled probe the next call is a probe.
        """
        if error is None or (isinstance(error, GatewayError) and error.code not in _DOWN):
            self._failures = 0
        elif isinstance(error, GatewayError):
            self._failures += 1
            self._half_open_at = self._clock() + self._cooldown
        elif probe:
            self._half_open_at = self._clock()


def _refusal(seconds: float) -> GatewayError:
    error = upstream_overloaded(seconds)
    error.retryable = False
    return error
