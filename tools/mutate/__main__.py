"""``python -m tools.mutate [MODULE …]``: exit 1 when the tests of any module notice too few of its mutants.

All modules take about ten minutes on two cores. Equivalent mutants, which no test can notice, are tried like the others
and count as survivors; tools/mutate/targets.py gives the reason for each.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from tools.command_line import exit_with
from tools.mutate.operators import Mutant, mutants
from tools.mutate.runner import BaselineError, MutantRunner, Verdict
from tools.mutate.targets import EQUIVALENT, TARGETS

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Score:
    module: str
    killed: int
    tried: int

    @property
    def share(self) -> float:
        """Killed mutants in percent."""
        return 100 * self.killed / max(self.tried, 1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(TARGETS)}; all when none is given")
    parser.add_argument("--floor", type=float, default=90.0, help="percentage to be killed in every module (90)")
    parser.add_argument("--processes", type=int, default=2, help="mutants tried at a time (2)")
    chosen = parser.parse_args(arguments)
    unknown = [module for module in chosen.modules if module not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    if chosen.processes < 1:
        parser.error("--processes must be at least 1")
    started = time.monotonic()
    try:
        scores = [mutate(module, chosen.processes) for module in chosen.modules or TARGETS]
    except BaselineError as error:
        print(error)
        return 1
    print(f"\n{conclusion(scores, chosen.floor)}, {time.monotonic() - started:.0f} s")
    return 1 if below(scores, chosen.floor) else 0


def mutate(module: str, processes: int) -> Score:
    """Test every mutant and print the survivors. Raises BaselineError, also for a stale entry of EQUIVALENT."""
    started = time.monotonic()
    runner = MutantRunner(ROOT, module, TARGETS[module], processes)
    seconds = runner.check_baseline()
    candidates = list(mutants(runner.source))
    equivalent = EQUIVALENT.get(module, {})
    if stale := equivalent.keys() - {mutant.name for mutant in candidates}:
        raise BaselineError(f"{module}: no such mutant is left: {min(stale)}")
    verdicts = list(runner.run(candidates, seconds))
    runner.check_baseline()
    score = Score(module, sum(verdict.killed for verdict in verdicts), len(verdicts))
    print(f"{module}: {_summary(score, verdicts)}, {time.monotonic() - started:.0f} s", flush=True)
    for mutant in _survivors(verdicts):
        if reason := equivalent.get(mutant.name):
            print(f"  equivalent {_location(module, mutant)} {mutant.function}: {reason}", flush=True)
        else:
            print(f"  survived {_location(module, mutant)} {mutant.name}", flush=True)
    if noticed := [verdict.mutant.name for verdict in verdicts if verdict.killed and verdict.mutant.name in equivalent]:
        raise BaselineError(f"{module}: called equivalent, but the tests notice it: {min(noticed)}")
    return score


def below(scores: list[Score], floor: float) -> list[Score]:
    """The modules whose share is below ``floor`` (percent)."""
    return [score for score in scores if score.share < floor]


def conclusion(scores: list[Score], floor: float) -> str:
    missed = below(scores, floor)
    killed, tried = sum(score.killed for score in scores), sum(score.tried for score in scores)
    total = f"{killed} of {tried} mutants killed, {100 * killed / max(tried, 1):.1f} %"
    if missed:
        return f"{total}; below {floor:g} %: {', '.join(f'{score.module} {score.share:.1f} %' for score in missed)}"
    return f"{total}; every module at {floor:g} % or above"


def _summary(score: Score, verdicts: list[Verdict]) -> str:
    timed_out = sum(verdict.timed_out for verdict in verdicts)
    late = f" ({timed_out} of them by running too long)" if timed_out else ""
    return f"{score.killed} of {score.tried} killed, {score.share:.1f} %{late}"


def _survivors(verdicts: list[Verdict]) -> list[Mutant]:
    return sorted((verdict.mutant for verdict in verdicts if not verdict.killed), key=lambda mutant: mutant.line)


def _location(module: str, mutant: Mutant) -> str:
    return f"{module.replace('.', '/')}.py:{mutant.line}"


if __name__ == "__main__":
    exit_with(main)
