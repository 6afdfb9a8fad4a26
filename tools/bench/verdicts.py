"""The promised ratios: how each is computed from the measurements, and its lower or upper bound."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.bench.load import Outcome
from tools.bench.measure import UPSTREAM, Results

ALLOWANCE = 0.00015
"""CPU seconds allowed per answer in addition to forwarding and signing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A ratio with one value per round, and the bound on its median; skipped if it has no values."""

    title: str
    values: Sequence[float]
    bound: float
    at_least: bool

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def noise(self) -> float:
        """Half the interquartile range relative to the median."""
        return relative_dispersion(self.values)

    @property
    def holds(self) -> bool:
        return self.median >= self.bound if self.at_least else self.median <= self.bound

    @property
    def status(self) -> str:
        """``ok``, ``MISSED`` or ``skipped``."""
        if not self.values:
            return "skipped"
        return "ok" if self.holds else "MISSED"


def relative_dispersion(values: Sequence[float]) -> float:
    """Half the interquartile range relative to the median; 0 for fewer than three values."""
    if len(values) < 3:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle if middle else 0.0


def cpu(outcome: Outcome) -> float:
    """CPU seconds per answer."""
    return outcome.cpu / outcome.answers


def verdicts(results: Results) -> list[Verdict]:
    """All ratios, including skipped ones."""
    return [
        _at_least(
            "signed 2 KiB answers per CPU-second / bare signing proxy's",
            0.95,
            _efficiency(results, "small", "bare_signer"),
        ),
        _at_most("CPU per 2 KiB answer / (1.2 bare + 1.05 signature + 0.15 ms)", 1.0, _within_sum(results)),
        _at_most(
            "CPU of an answer by Anthropic / by OpenAI",
            1.10,
            [cpu(a) / cpu(b) for a, b in results.rounds("anthropic", "gateway", "gateway, OpenAI")],
        ),
        _at_most(
            "CPU with payments / without, facilitator excluded",
            1.6,
            [cpu(paid) / cpu(free) for paid, free in results.rounds("paid", "gateway_paid", "gateway")],
        ),
        _at_least("answers per CPU-second, two workers / one", 0.95, _scaling(results, lambda it: 1 / cpu(it))),
        _at_least("answers per second, two workers / one", 1.0, _scaling(results, lambda it: it.answers / it.wall)),
        _at_most(
            "CPU of the busier of two workers / of both",
            0.6,
            [max(two.worker_cpu) / sum(two.worker_cpu) for (two,) in results.rounds("workers", "two_workers")],
        ),
        _at_least("answers per CPU-second / LiteLLM's", 15.0, _efficiency(results, "small", "litellm")),
        _at_least("answers per CPU-second / Portkey's", 2.0, _efficiency(results, "small", "portkey")),
        _at_most("added latency at one connection / bare signing proxy's", 1.2, _added_latency(results)),
        _at_least("paced events per CPU-second / bare proxy's", 0.9, _efficiency(results, "paced", "bare_proxy")),
        _at_most(
            "KiB per idle stream",
            64.0,
            [outcome.resident / 1024 for (outcome,) in results.rounds("idle", "gateway")],
        ),
        _at_most(
            "p99 / p50 with 1,000 connections",
            4.0,
            [outcome.percentile(0.99) / outcome.percentile(0.5) for (outcome,) in results.rounds("crowd", "gateway")],
        ),
        _at_least(
            "streams whose first event leaves with the headers",
            1.0,
            [outcome.coalesced / outcome.answers for (outcome,) in results.rounds("paced", "gateway")],
        ),
        _at_most("CPU seconds to the first signed answer", 1.0, [start.cpu for start in results.cold_starts]),
        _at_most("MiB resident when idle", 90.0, [start.resident / 2**20 for start in results.cold_starts]),
    ]


def _efficiency(results: Results, workload: str, target: str) -> list[float]:
    """The gateway's answers per CPU-second over the target's."""
    return [cpu(other) / cpu(gateway) for gateway, other in results.rounds(workload, "gateway", target)]


def _scaling(results: Results, figure: Callable[[Outcome], float]) -> list[float]:
    """A figure of two workers over the same figure of one."""
    return [figure(two) / figure(one) for two, one in results.rounds("workers", "two_workers", "one_worker")]


def _within_sum(results: Results) -> list[float]:
    pairs = zip(results.rounds("small", "gateway", "bare_proxy"), results.signature.get("small", []), strict=False)
    return [cpu(gateway) / (1.2 * cpu(bare) + 1.05 * signature + ALLOWANCE) for (gateway, bare), signature in pairs]


def _added_latency(results: Results) -> list[float]:
    def added(outcome: Outcome, upstream: Outcome) -> float:
        return outcome.percentile(0.5) - upstream.percentile(0.5)

    rounds = results.rounds("alone", "gateway", "bare_signer", UPSTREAM)
    return [added(gateway, upstream) / added(other, upstream) for gateway, other, upstream in rounds]


def _at_least(title: str, bound: float, values: Sequence[float]) -> Verdict:
    return Verdict(title, values, bound, at_least=True)


def _at_most(title: str, bound: float, values: Sequence[float]) -> Verdict:
    return Verdict(title, values, bound, at_least=False)
