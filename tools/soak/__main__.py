"""``python -m tools.soak --seconds N --seed S``: exit status 1 when an invariant did not hold."""

import argparse
import logging
import secrets
from collections import Counter
from collections.abc import Sequence

from gateway.catalog import bundled
from tools.command_line import exit_with
from tools.soak.run import Outcome, soak


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200.0, help="duration of the load in seconds (default: 1200)")
    parser.add_argument("--seed", type=int, help="random seed (default: random)")
    options = parser.parse_args(argv)
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:g} s", flush=True)
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # the simulators' reports of broken connections
    import uvloop

    outcome = uvloop.run(soak(options.seconds, seed, bundled()))
    report(outcome, options.seconds)
    return 1 if outcome.problems else 0


def report(outcome: Outcome, seconds: float) -> None:
    """Print the figures, then the verdict."""
    findings = outcome.findings
    print(f"visits     {_listed(findings.visits)}")
    print(f"ends       {_listed(outcome.ends)}")
    print(f"faults     {_listed(outcome.faults)}")
    print(f"payments   {_listed(outcome.payments)}")
    print(f"statuses   {_listed(Counter({str(status): n for status, n in findings.statuses.items()}))}")
    print(f"answers    {findings.verified} verified, {findings.interrupted} broken off")
    if outcome.memory:
        some = outcome.memory[:: len(outcome.memory) // 10 or 1]
        print(f"memory     {', '.join(f'{size / 2**20:.0f}' for size in some)} MiB")
    for problem in outcome.problems[:50]:
        print(f"PROBLEM    {problem}")
    if outcome.problems:
        again = f"python -m tools.soak --seconds {seconds:g} --seed {outcome.seed}"
        print(f"FAILED     {len(outcome.problems)} problems; again: {again}")
    else:
        print("OK         all invariants held")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"


if __name__ == "__main__":
    exit_with(main)
