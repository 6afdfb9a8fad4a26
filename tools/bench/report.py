"""Format the results as tables of ratios, costs and micro-benchmarks."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from tools.bench.load import Outcome
from tools.bench.measure import Results
from tools.bench.verdicts import Verdict, cpu, relative_dispersion
from tools.bench.workloads import WORKLOADS, Workload

_NAMES = {
    "gateway_paid": "gateway, paid",
    "one_worker": "gateway, one worker",
    "two_workers": "gateway, two workers",
    "bare_proxy": "bare proxy",
    "bare_signer": "bare signing proxy",
    "litellm": "LiteLLM",
    "portkey": "Portkey",
}


def ratios(verdicts: Sequence[Verdict]) -> list[list[str]]:
    """Rows of the table of ratios, header first."""
    rows = [["ratio", "measured", "bound", "noise", ""]]
    for verdict in verdicts:
        bound = f"{'≥' if verdict.at_least else '≤'} {verdict.bound:g}"
        if verdict.values:
            rows.append([verdict.title, f"{verdict.median:.2f}", bound, f"± {verdict.noise:.0%}", verdict.status])
        else:
            rows.append([verdict.title, "–", bound, "", verdict.status])
    return rows


def costs(results: Results) -> list[list[str]]:
    """Rows of the table of costs, header first: one per workload and target."""
    rows = [["work", "who", "CPU", "noise", "p50", "beside one RSA signature"]]
    for workload in WORKLOADS:
        signatures = results.signature.get(workload.name) or [0.0]
        for target, outcomes in results.outcomes.get(workload.name, {}).items():
            cells = _cells(workload, outcomes, statistics.median(signatures))
            rows.append([workload.title, _NAMES.get(target, target), *cells])
    return rows


def _cells(workload: Workload, outcomes: Sequence[Outcome], signature: float) -> Iterator[str]:
    if workload.hold:
        kib = [outcome.resident / 1024 for outcome in outcomes]
        yield from (f"{statistics.median(kib):.1f} KiB per stream", f"± {relative_dispersion(kib):.0%}", "", "")
        return
    each = [cpu(outcome) / workload.events for outcome in outcomes]
    median = statistics.median(each)
    yield f"{median * 1e6:.1f} µs per {'event' if workload.stream else 'answer'}"
    yield f"± {relative_dispersion(each):.0%}"
    yield f"{statistics.median(outcome.percentile(0.5) for outcome in outcomes) * 1e3:.2f} ms"
    yield "" if workload.stream else f"{median / signature:.2f}"


def steps(micro: Mapping[str, float]) -> list[list[str]]:
    """Rows of the micro-benchmarks, header first."""
    return [["step", "CPU"], *([name, f"{value:.1f} µs"] for name, value in micro.items())]


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    rule = "|" + " --- |" * len(rows[0])
    return "\n".join([head, rule, *body])
