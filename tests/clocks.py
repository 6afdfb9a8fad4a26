"""Clocks that tests set."""

import time
from dataclasses import dataclass


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class UnixClock:
    """Unix time, so many seconds ahead."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead
