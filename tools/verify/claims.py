"""Claims with their verdicts, and the report that prints them, one per line."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TextIO

_DETAIL_LIMIT = 800
_MESSAGE_LIMIT = 4000


class Verdict(StrEnum):
    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class Claim:
    """One checked property and its verdict."""

    name: str
    verdict: Verdict
    detail: str

    def line(self) -> str:
        return f"{self.verdict} {self.name} {one_line(self.detail, _DETAIL_LIMIT)}"


def passed(name: str, detail: str) -> Claim:
    return Claim(name, Verdict.PASS, detail)


def failed(name: str, detail: str) -> Claim:
    return Claim(name, Verdict.FAIL, detail)


def skipped(name: str, detail: str) -> Claim:
    return Claim(name, Verdict.SKIP, detail)


def skip_all(names: Iterable[str], detail: str) -> list[Claim]:
    return [skipped(name, detail) for name in names]


@dataclass(frozen=True, slots=True)
class Report:
    """The claims of one run, notes on them, and what they do not cover; ``meaning`` is printed if they are valid."""

    claims: list[Claim]
    notes: list[str] = field(default_factory=list)
    not_covered: list[str] = field(default_factory=list)
    meaning: str = ""

    @property
    def valid(self) -> bool:
        """At least one claim holds and none fails."""
        verdicts = {claim.verdict for claim in self.claims}
        return Verdict.PASS in verdicts and Verdict.FAIL not in verdicts

    @property
    def exit_code(self) -> int:
        return 0 if self.valid else 1

    def write(self, out: TextIO, *, as_json: bool = False) -> None:
        """Print as lines for people or, with ``as_json``, as one JSON object."""
        out.write(self._json() if as_json else self._text())

    def _json(self) -> str:
        claims = [{"claim": claim.name, "verdict": claim.verdict, "detail": claim.detail} for claim in self.claims]
        return (
            json.dumps(
                {"valid": self.valid, "claims": claims, "notes": self.notes, "not_covered": self.not_covered}, indent=2
            )
            + "\n"
        )

    def _text(self) -> str:
        lines = [claim.line() for claim in self.claims]
        lines.append(self._summary())
        lines += [f"note: {one_line(note, _DETAIL_LIMIT)}" for note in self.notes]
        if self.not_covered:
            lines.append("not covered by the signature:")
            lines += [f"  - {item}" for item in self.not_covered]
        return "\n".join(lines) + "\n"

    def _summary(self) -> str:
        if self.valid:
            skips = ", ".join(claim.name for claim in self.claims if claim.verdict is Verdict.SKIP)
            verdict = f"valid: {self.meaning}" if self.meaning else "valid"
            return f"{verdict} (not checked: {skips})" if skips else verdict
        failures = [claim.name for claim in self.claims if claim.verdict is Verdict.FAIL]
        return f"invalid: {', '.join(failures) or 'nothing could be checked'}"


def one_line(text: str, limit: int = _MESSAGE_LIMIT) -> str:
    """Escape and truncate untrusted text to one printable line of at most ``limit`` characters."""
    printable = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"
