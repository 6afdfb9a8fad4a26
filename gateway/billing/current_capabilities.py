"""The facilitator's capabilities, read again periodically and whenever a refusal suggests that they have changed."""

import asyncio
import logging
import time

from gateway.billing.capabilities import Capabilities
from gateway.billing.definitions import FacilitatorTimes
from gateway.billing.facilitator import Facilitator, FacilitatorUnavailableError
from gateway.billing.upto_trial import UptoTrial

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 60.0
"""The longest that the facilitator's Retry-After delays the next reading of its /supported."""
_STALE_CODES = frozenset({"payments_unavailable", "unsupported_scheme", "upto_facilitator_mismatch"})
"""Error codes that may mean that the facilitator's /supported has changed since it was last read."""


class CurrentCapabilities:
    """``refresh`` reads them, every ``interval`` seconds and once ``refresh_requested`` is set.

    ``reason`` is why the last reading failed, None if it did not.
    """

    def __init__(self, facilitator: Facilitator, trial: UptoTrial, times: FacilitatorTimes) -> None:
        self._facilitator = facilitator
        self._trial = trial
        self._times = times
        self._last: Capabilities | None = None
        self._read_at = 0.0
        self._attempted_at = 0.0
        self._retry_seconds = _RETRY_SECONDS
        self.refresh_requested = asyncio.Event()
        self.reason: str | None = "the facilitator has not responded yet"

    def get(self) -> Capabilities | None:
        """The capabilities without what the trial withholds; None before the first reading, and once it is stale."""
        if self._last is None or time.monotonic() - self._read_at > self._times.supported_stale_seconds:
            return None
        return self._trial.restrict(self._last)

    @property
    def awaits_trial(self) -> bool:
        """Whether ``upto`` is withheld until the trial passes."""
        return self._last is not None and self._trial.is_pending(self._last)

    def interval(self) -> float:
        """Seconds until the next reading."""
        return self._times.supported_refresh_seconds if self.reason is None else self._retry_seconds

    async def refresh(self) -> None:
        """Read the facilitator's /supported, and run the trial where ``upto`` has not passed it."""
        self._attempted_at = time.monotonic()
        try:
            self._last = await self._facilitator.supported()
        except FacilitatorUnavailableError as error:
            self._on_unavailable(error)
            return
        self._read_at = time.monotonic()
        self._retry_seconds = _RETRY_SECONDS
        self.reason = None
        await self._trial.run(self._last)

    def _on_unavailable(self, error: FacilitatorUnavailableError) -> None:
        """Log the reason, once until another one."""
        reason = f"the facilitator is not usable: {error}"
        if reason != self.reason:
            log.warning("facilitator not usable", extra={"reason": str(error)})
        self.reason = reason
        self._retry_seconds = min(max(_RETRY_SECONDS, error.retry_after or 0.0), _MAX_RETRY_SECONDS)

    def on_refusal(self, code: str | None) -> None:
        """Request a reading if a payment was refused with a ``code`` that stale capabilities may explain."""
        if code in _STALE_CODES and time.monotonic() - self._attempted_at > self._retry_seconds:
            self.refresh_requested.set()
