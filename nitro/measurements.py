"""``python -m nitro.measurements``: does the source still build to measurements.txt, and if not, which input moved?

The file is ``{"Measurements": {"HashAlgorithm", "PCR0", "PCR1", "PCR2"}, "recipe": {NAME: VALUE}}``. The recipe has
the digest of every input and of the image. What this machine cannot build is reported as such and not compared;
``--write`` leaves it out, and a file without all three PCRs is one that no verifier accepts.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from nitro.arguments import add_inputs, inputs_of
from nitro.errors import BuildError
from nitro.inputs import ROOT
from nitro.measure import Measured, measure

FILE = ROOT / "measurements.txt"


def load(file: Path) -> dict[str, str]:
    """Registers and recipe in one. Raises :class:`BuildError` when the file is not of this shape."""
    try:
        content = json.loads(file.read_text())
        pcrs = {name: value for name, value in content["Measurements"].items() if name != "HashAlgorithm"}
        return {**content["recipe"], **pcrs}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"{file.name} is not measurements with a recipe: {error}") from error


def compare(committed: Mapping[str, str], measured: Measured) -> Iterator[tuple[str, str]]:
    """``same``, ``moved``, ``new``, ``gone`` or ``unknown`` for every name, inputs before what they decide."""
    for name in sorted({*committed, *measured.values, *measured.unavailable}, key=lambda name: (_rank(name), name)):
        if name in measured.unavailable:
            yield name, "unknown"
        elif name not in committed:
            yield name, "new"
        elif name not in measured.values:
            yield name, "gone"
        else:
            yield name, "same" if committed[name] == measured.values[name] else "moved"


def _rank(name: str) -> int:
    return 2 if name.startswith("PCR") else 1 if name in ("files", "image") else 0


def verdict(states: Mapping[str, str]) -> tuple[int, str]:
    """Exit status and last line."""
    moved = [name for name, state in states.items() if state not in ("same", "unknown")]
    if moved:
        return 1, f"measurements moved: {', '.join(moved)}"
    unknown = [name for name, state in states.items() if state == "unknown"]
    if unknown:
        return 0, f"measurements hold as far as built here; not built: {', '.join(unknown)}"
    return 0, "measurements hold: PCR0, PCR1, PCR2"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m nitro.measurements", description=__doc__.splitlines()[0])
    add_inputs(parser)
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--write", action="store_true", help="write what is built here instead of comparing")
    parser.add_argument("--blobs", type=Path, metavar="DIR", help="measure the boot by nitro-cli's blobs; needs --file")
    parser.add_argument("--daemon", type=Path, metavar="FILE", help="FILE in place of nitriding; needs --file")
    arguments = parser.parse_args()
    if (arguments.blobs or arguments.daemon) and arguments.file == FILE:
        parser.error("a variant is kept apart from measurements.txt: name another --file")
    try:
        program = arguments.daemon.read_bytes() if arguments.daemon else None
        measured = measure(inputs_of(arguments), program, arguments.blobs)
        for reason in sorted(set(measured.unavailable.values())):
            names = [name for name, why in measured.unavailable.items() if why == reason]
            print(f"not built here: {', '.join(names)}: {reason}", file=sys.stderr)
        if arguments.write:
            arguments.file.write_text(json.dumps(measured.document(), indent=2) + "\n")
            print(f"measurements written, {len(measured.unavailable)} values missing")
            return 1 if measured.unavailable else 0
        states = dict(compare(load(arguments.file), measured))
    except (BuildError, OSError) as error:
        print(f"measurements: {error}", file=sys.stderr)
        return 1
    print("".join(f"{state:8}{name}\n" for name, state in states.items()), end="")
    status, line = verdict(states)
    print(line)
    return status


if __name__ == "__main__":
    sys.exit(main())
