"""Rates and quantiles between two scrapes, computed like PromQL's."""

import math
from dataclasses import dataclass

from tools.top.scrape import Scrape


@dataclass(frozen=True, slots=True)
class Window:
    """From scrape ``before`` to ``now``; without ``before``, since the start, a duration that is unknown."""

    now: Scrape
    before: Scrape | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.before is None else self.now.time - self.before.time

    def increase(self, name: str, **where: str) -> float:
        """The increase of a counter; after a reset it counts from zero."""
        now = self.now.total(name, **where)
        earlier = 0.0 if self.before is None else self.before.total(name, **where)
        return now - earlier if now >= earlier else now

    def rate(self, name: str, **where: str) -> float | None:
        """The increase per second; None without a previous scrape."""
        return None if not self.seconds else self.increase(name, **where) / self.seconds

    def quantile(self, share: float, histogram: str, **where: str) -> float | None:
        """The quantile ``share`` of a histogram, interpolated within its bucket.

        None without observations; the highest finite bound if it lies in the last bucket.
        """
        labels = {float(label): label for label in self.now.by_label(f"{histogram}_bucket", "le")}
        bounds = sorted(labels)
        counts = [self.increase(f"{histogram}_bucket", le=labels[bound], **where) for bound in bounds]
        if not counts or counts[-1] <= 0:
            return None
        rank, lower, below = share * counts[-1], 0.0, 0.0
        for bound, count in zip(bounds, counts, strict=True):
            if count >= rank:
                if bound == math.inf:
                    return lower
                inside = count - below
                return lower + (bound - lower) * ((rank - below) / inside if inside else 1.0)
            lower, below = bound, count
        return lower
