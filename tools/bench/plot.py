"""A bar chart as SVG, written by hand: medians as bars, quartiles as whiskers, the bound as a line."""

from collections.abc import Sequence
from html import escape

from tools.bench.verdicts import Verdict

_WIDTH, _ROW, _LABEL, _SCALE = 900, 30, 470, 300
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.ok{fill:#2da44e}.MISSED{fill:#cf222e}"
    "line{stroke:#24292f;stroke-width:1.5}.bound{stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}line{stroke:#e6edf3}}"
)


def svg(verdicts: Sequence[Verdict], caption: str) -> str:
    """One bar per measured verdict. Longer is better: ratios with an upper bound are drawn inverted."""
    measured = [verdict for verdict in verdicts if verdict.values]
    height = _ROW * (len(measured) + 2)
    bound = _LABEL + _SCALE / 2
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            f"<title>{escape(caption)}</title><style>{_STYLE}</style>",
            *(_bar(verdict, row) for row, verdict in enumerate(measured)),
            f'<line class="bound" x1="{bound:g}" x2="{bound:g}" y1="8" y2="{_ROW * len(measured) + 8}"/>',
            f'<text x="{bound:g}" y="{height - 34}" text-anchor="middle">promised</text>',
            f'<text x="12" y="{height - 10}">{escape(caption)}</text>',
            "</svg>",
            "",
        ]
    )


def _bar(verdict: Verdict, row: int) -> str:
    """A bar of the measured value over a lower bound, or of an upper bound over the measured value."""
    median = _length(verdict.median, verdict)
    low, high = sorted(_length(verdict.median * (1 + sign * verdict.noise), verdict) for sign in (-1, 1))
    top, centre = row * _ROW + 12, row * _ROW + 22
    return (
        f'<text x="{_LABEL - 10}" y="{centre + 4}" text-anchor="end">{escape(verdict.title)}</text>'
        f'<rect class="{verdict.status}" x="{_LABEL}" y="{top}" width="{median:.1f}" height="20" rx="2"/>'
        f'<line x1="{_LABEL + low:.1f}" x2="{_LABEL + high:.1f}" y1="{centre}" y2="{centre}"/>'
        f'<text x="{_LABEL + max(high, median) + 8:.1f}" y="{centre + 4}">{verdict.median:.2f}</text>'
    )


def _length(value: float, verdict: Verdict) -> float:
    """Pixels. The bound is at the middle of the scale; lengths are capped at twice the bound."""
    numerator, denominator = (value, verdict.bound) if verdict.at_least else (verdict.bound, value)
    return _SCALE / 2 * min(numerator / denominator if denominator else 2.0, 2.0)
