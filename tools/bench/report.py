"""The results as text: a table of ratios, a table of costs, micro-benchmarks."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from tools.bench.load import Outcome
from tools.bench.measure import Results
from tools.bench.shapes import SHAPES, Shape
from tools.bench.verdicts import Verdict, cpu, spread

_NAMES = {
    "gateway_paid": "gateway, paid",
    "one_worker": "gateway, one worker",
    "two_workers": "gateway, two workers",
    "bare_proxy": "bare proxy",
    "bare_signer": "bare signing proxy",
    "litellm": "LiteLLM",
    "portkey": "Portkey",
}


def display(target: str) -> str:
    """How a target is called in tables."""
    return _NAMES.get(target, target)


def ratios(verdicts: Sequence[Verdict]) -> list[list[str]]:
    """Rows of the table of ratios, header first."""
    rows = [["ratio", "measured", "bound", "noise", ""]]
    for verdict in verdicts:
        bound = f"{'≥' if verdict.at_least else '≤'} {verdict.bound:g}"
        if verdict.values:
            rows.append([verdict.title, f"{verdict.median:.2f}", bound, f"± {verdict.noise:.0%}", verdict.word])
        else:
            rows.append([verdict.title, "–", bound, "", verdict.word])
    return rows


def costs(results: Results) -> list[list[str]]:
    """Rows of the table of costs, header first: what was measured of each target in each shape."""
    rows = [["work", "who", "CPU", "noise", "p50", "beside one RSA signature"]]
    for shape in SHAPES:
        signatures = results.signature.get(shape.name) or [0.0]
        for target, outcomes in results.outcomes.get(shape.name, {}).items():
            rows.append([shape.title, display(target), *_cells(shape, outcomes, statistics.median(signatures))])
    return rows


def _cells(shape: Shape, outcomes: Sequence[Outcome], signature: float) -> Iterator[str]:
    if shape.hold:
        kib = [outcome.resident / 1024 for outcome in outcomes]
        yield from (f"{statistics.median(kib):.1f} KiB per stream", f"± {spread(kib):.0%}", "", "")
        return
    each = [cpu(outcome) / shape.events for outcome in outcomes]
    middle = statistics.median(each)
    yield f"{middle * 1e6:.1f} µs per {'event' if shape.stream else 'answer'}"
    yield f"± {spread(each):.0%}"
    yield f"{statistics.median(outcome.percentile(0.5) for outcome in outcomes) * 1e3:.2f} ms"
    yield "" if shape.stream else f"{middle / signature:.2f}"


def steps(micro: Mapping[str, float]) -> list[list[str]]:
    """Rows of the micro-benchmarks, header first."""
    return [["step", "CPU"], *([name, f"{value:.1f} µs"] for name, value in micro.items())]


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Columns under each other, for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    rule = "|" + " --- |" * len(rows[0])
    return "\n".join([head, rule, *body])
