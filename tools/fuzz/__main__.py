"""``python -m tools.fuzz``: random inputs until the time is up; exit 1 with the input in a file on the first finding.

Input n of a target depends on the seed, the target and n only, so a finding can be made again with ``--replay``. While
it runs, the input that is being tried stands in a file of the same kind, for a fault that kills the interpreter.
"""

import argparse
import faulthandler
import json
import logging
import random
import resource
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType

from tools.command_line import exit_with
from tools.fuzz.target import AnyTarget
from tools.fuzz.targets import TARGETS

_FINDINGS = Path(__file__).parent.parent.parent / "build" / "fuzz"
_BATCH = 50
_TIMEOUT = 10
_BATCH_TIMEOUT = 120
"""Seconds for a batch, for hangs that no signal interrupts; the process then dumps its traceback and exits."""
_MAX_MEMORY = 4 << 30


class TooSlowError(Exception):
    """An input exceeded the time limit."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, help="seed of the inputs (default: random)")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this target; may be repeated")
    parser.add_argument("--replay", type=_finding, metavar="FILE", help="rerun the input of a finding")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGALRM, _too_slow)
    if chosen.replay is not None:
        return 0 if _try(*chosen.replay) else 1
    seed = random.SystemRandom().randrange(2**32) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    return _run([TARGETS[name] for name in chosen.target or TARGETS], seed, chosen.seconds)


def _finding(path: str) -> tuple[AnyTarget, int, int]:
    """Target, seed and number of the input in a finding's file."""
    try:
        finding = json.loads(Path(path).read_text(encoding="utf-8"))
        return TARGETS[finding["target"]], finding["seed"], finding["number"]
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise argparse.ArgumentTypeError(f"{path} is not a finding") from None


def _run(targets: list[AnyTarget], seed: int, seconds: float) -> int:
    """Run batches of all targets with equal shares of time, until it is up or an input fails."""
    end = monotonic() + seconds
    spent = dict.fromkeys((target.name for target in targets), 0.0)
    tried = dict.fromkeys(spent, 0)
    with _record_current(seed) as note:
        while monotonic() < end or not all(tried.values()):
            target = min(targets, key=lambda target: (tried[target.name] > 0, spent[target.name]))
            started = monotonic()
            faulthandler.dump_traceback_later(_BATCH_TIMEOUT, exit=True, file=2)
            for number in range(tried[target.name], tried[target.name] + _BATCH):
                note(target.name, number)
                if not _try(target, seed, number):
                    return 1
            faulthandler.cancel_dump_traceback_later()
            tried[target.name] += _BATCH
            spent[target.name] += monotonic() - started
    for name, inputs in tried.items():
        print(f"  {name:<22} {inputs:>9,} inputs")
    print(f"nothing found: {len(targets)} targets, {sum(tried.values()):,} inputs")
    return 0


@contextmanager
def _record_current(seed: int) -> Iterator[Callable[[str, int], None]]:
    """Record the current input in a file that can be replayed after a crash of the interpreter."""
    path = _FINDINGS / f"running-{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as file:

        def note(target: str, number: int) -> None:
            file.seek(0)
            file.write(json.dumps({"target": target, "seed": seed, "number": number}).ljust(120).encode())

        try:
            yield note
        finally:
            path.unlink()


def _try(target: AnyTarget, seed: int, number: int) -> bool:
    """Whether input ``number`` passes; a failing one is written to a file."""
    case = target.make(random.Random(f"{seed}/{target.name}/{number}"))
    signal.alarm(_TIMEOUT)
    try:
        target.check(case)
    except KeyboardInterrupt:
        raise
    except BaseException:  # Rust panics are not Exceptions
        problem = traceback.format_exc()
    else:
        return True
    finally:
        signal.alarm(0)
    path = _FINDINGS / f"{target.name}-{seed}-{number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    finding = {"target": target.name, "seed": seed, "number": number, "input": repr(case), "problem": problem}
    path.write_text(json.dumps(finding, indent=1), encoding="utf-8")
    print(f"{problem}\nfound by {target.name}: {repr(case)[:2000]}\n\npython -m tools.fuzz --replay {path}")
    return False


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlowError


if __name__ == "__main__":
    logging.disable()
    faulthandler.enable()
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    exit_with(main)
