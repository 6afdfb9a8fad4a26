"""``python -m tools.fuzz``: random inputs until the time is up; exit 1 with the input in a file on the first finding.

Input n of a target depends on the seed, the target and n only, so a finding can be made again with ``--replay``.
"""

import argparse
import json
import random
import signal
import sys
import time
import traceback
from itertools import count
from pathlib import Path
from types import FrameType

from tools.fuzz.answers import ANSWERS
from tools.fuzz.event_streams import EVENT_STREAMS
from tools.fuzz.headers import DATA_URIS, PAYMENT_HEADERS
from tools.fuzz.requests import CHAT_REQUESTS, COMPLETION_REQUESTS, GARBAGE_REQUESTS
from tools.fuzz.target import AnyTarget
from tools.fuzz.vendors import VENDOR_ANSWERS

TARGETS: dict[str, AnyTarget] = {
    target.name: target
    for target in (
        EVENT_STREAMS,
        CHAT_REQUESTS,
        COMPLETION_REQUESTS,
        GARBAGE_REQUESTS,
        ANSWERS,
        VENDOR_ANSWERS,
        PAYMENT_HEADERS,
        DATA_URIS,
    )
}
_FINDINGS = Path(__file__).parent.parent.parent / "build" / "fuzz"
_BATCH = 50
_PATIENCE = 10


class TooSlowError(Exception):
    """One input took longer than any may."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, help="of the inputs; a new one when none is given")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="the input of a finding, again")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGALRM, _too_slow)
    if chosen.replay is not None:
        finding = json.loads(chosen.replay.read_text(encoding="utf-8"))
        return 0 if _try(TARGETS[finding["target"]], finding["seed"], finding["number"]) else 1
    seed = random.SystemRandom().randrange(2**32) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    return _run([TARGETS[name] for name in chosen.target or TARGETS], seed, chosen.seconds)


def _run(targets: list[AnyTarget], seed: int, seconds: float) -> int:
    """The targets in turn, a batch each, until the time is up or something is found."""
    end = time.monotonic() + seconds
    for batch in count():
        for target in targets:
            for number in range(batch * _BATCH, (batch + 1) * _BATCH):
                if not _try(target, seed, number):
                    return 1
        if time.monotonic() > end:
            print(f"nothing found: {len(targets)} targets, {(batch + 1) * _BATCH} inputs each")
            return 0
    return 0


def _try(target: AnyTarget, seed: int, number: int) -> bool:
    """Whether input ``number`` passes; one that does not is written to a file."""
    case = target.make(random.Random(f"{seed}/{target.name}/{number}"))
    signal.alarm(_PATIENCE)
    try:
        target.check(case)
    except Exception:
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
    sys.exit(main())
