"""``python -m tools.mutate [MODULE …]``: exit 1 when fewer mutants are noticed than the floor asks for."""

import argparse
import sys
import time
from pathlib import Path

from tools.mutate.laboratory import BaselineError, Laboratory
from tools.mutate.operators import Mutant, mutants
from tools.mutate.targets import EQUIVALENT, TARGETS

ROOT = Path(__file__).parent.parent.parent


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutate", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(TARGETS)}; all when none is given")
    parser.add_argument("--floor", type=float, default=90.0, help="percentage that has to be killed (90)")
    parser.add_argument("--processes", type=int, default=2, help="mutants tried at a time (2)")
    chosen = parser.parse_args(arguments)
    unknown = [module for module in chosen.modules if module not in TARGETS]
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    started = time.monotonic()
    killed = total = 0
    try:
        for module in chosen.modules or TARGETS:
            kills, tried = _mutate(module, chosen.processes)
            killed, total = killed + kills, total + tried
    except BaselineError as error:
        print(error)
        return 1
    share = 100 * killed / max(total, 1)
    print(
        f"{killed} of {total} mutants killed, {share:.1f} % (floor {chosen.floor:g} %), "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0 if share >= chosen.floor else 1


def _mutate(module: str, processes: int) -> tuple[int, int]:
    """Killed and tried; the survivors are printed."""
    laboratory = Laboratory(ROOT, module, TARGETS[module], processes)
    seconds = laboratory.check_baseline()
    excused = EQUIVALENT.get(module, {})
    everyone = list(mutants(laboratory.source))
    if stale := excused.keys() - {mutant.name for mutant in everyone}:
        raise BaselineError(f"{module}: no such mutant is left: {min(stale)}")
    tried = [mutant for mutant in everyone if mutant.name not in excused]
    verdicts = list(laboratory.try_all(tried, seconds))
    laboratory.check_baseline()
    survivors = sorted((verdict.mutant for verdict in verdicts if not verdict.killed), key=lambda mutant: mutant.line)
    killed = len(tried) - len(survivors)
    share = 100 * killed / max(len(tried), 1)
    print(f"{module}: {killed} of {len(tried)} killed, {share:.1f} %, {len(excused)} equivalent", flush=True)
    for mutant in survivors:
        print(f"  survived {_place(module, mutant)} {mutant.name}", flush=True)
    return killed, len(tried)


def _place(module: str, mutant: Mutant) -> str:
    return f"{module.replace('.', '/')}.py:{mutant.line}"


if __name__ == "__main__":
    sys.exit(main())
