"""``python -m nitro.kernel``: the enclave's kernel, compiled once for each state of its lock and configuration."""

import argparse
import os
import sys
import time

from nitro.arguments import add_inputs, inputs_of
from nitro.debs.lock import Lock
from nitro.errors import BuildError
from nitro.kernel.build import CACHE, build, cached
from tools.command_line import exit_with


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m nitro.kernel", description=__doc__)
    add_inputs(parser)
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="compile N files at a time"
    )
    parser.add_argument("--again", action="store_true", help="compile even if cached, and compare")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error("--jobs must be at least 1")
    try:
        before = cached(Lock.load())
        started = time.monotonic()
        kernel = build(inputs_of(arguments), jobs=arguments.jobs) if arguments.again or not before else before
    except (BuildError, OSError) as error:
        print(f"kernel: {error}", file=sys.stderr)
        return 1
    if kernel is not before:
        print(f"compiled in {time.monotonic() - started:.0f} s into {CACHE / kernel.key}")
    if before and before.digest != kernel.digest:
        print(f"kernel: compiled twice from the same, {before.digest} and {kernel.digest}", file=sys.stderr)
        return 1
    print(f"kernel {kernel.digest} {len(kernel.image)} bytes")
    return 0


if __name__ == "__main__":
    exit_with(main)
