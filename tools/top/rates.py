"""What happened between two looks: rates and quantiles, as PromQL would have them."""

import math
from dataclasses import dataclass

from tools.top.scrape import Scrape


@dataclass(frozen=True, slots=True)
class Window:
    """From ``before`` to ``now``; without ``before``, all since the start, whose duration nobody knows."""

    now: Scrape
    before: Scrape | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.before is None else self.now.moment - self.before.moment

    def increase(self, name: str, **where: str) -> float:
        """How much a counter grew; one that started again counts from zero."""
        now = self.now.total(name, **where)
        earlier = 0.0 if self.before is None else self.before.total(name, **where)
        return now - earlier if now >= earlier else now

    def rate(self, name: str, **where: str) -> float | None:
        """Per second; None before there are two looks."""
        return None if not self.seconds else self.increase(name, **where) / self.seconds

    def quantile(self, share: float, histogram: str, **where: str) -> float | None:
        """The value below which ``share`` of the observations lie, interpolated in its bucket.

        None when nothing was observed; the largest bound when it lies above all of them.
        """
        bounds = sorted({float(bound) for bound in self.now.each(f"{histogram}_bucket", "le")})
        names = {float(text): text for text in self.now.each(f"{histogram}_bucket", "le")}
        counts = [self.increase(f"{histogram}_bucket", le=names[bound], **where) for bound in bounds]
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
