"""Write docs/benchmarks.md and docs/benchmarks.svg after a full run."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from tools.bench.measure import Results
from tools.bench.plot import svg
from tools.bench.report import costs, markdown, ratios, steps
from tools.bench.verdicts import Verdict

PAGE = Path("docs/benchmarks.md")
PICTURE = Path("docs/benchmarks.svg")

_TEXT = """\
# Benchmarks

Written by `make bench`; do not edit. Every ratio comes from rounds in which the compared targets took turns on the
same machine, simulated upstream and load generator included, so the ratios mean more than the times. CPU is that of
a target's whole process tree, read from the kernel's accounting. The bare proxy is aiohttp that forwards
(`tools/bench/bare_proxy.py`), the bare signing proxy also hashes and signs (`tools/bench/bare_signer.py`).

- Date: {date}
- Machine: {machine}
- Noise: {noise}

![How far each promise is kept](benchmarks.svg)

## Promises

{ratios}

## Costs

{costs}

## Single steps

{steps}
"""


def write(
    results: Results, verdicts: Sequence[Verdict], micro: Mapping[str, float], machine: str, noise: str, on: date
) -> None:
    """Write both files."""
    PICTURE.write_text(svg(verdicts, f"{on.isoformat()}: how far each promise is kept; right of the line is better"))
    text = _TEXT.format(
        date=on.isoformat(),
        machine=machine,
        noise=noise,
        ratios=markdown(ratios(verdicts)),
        costs=markdown(costs(results)),
        steps=markdown(steps(micro)),
    )
    PAGE.write_text(text)
