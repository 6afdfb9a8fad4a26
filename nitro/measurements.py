"""``python -m nitro.measurements``: does the source still build to measurements.txt, and if not, which input moved?

The file is ``{"Measurements": {"HashAlgorithm", "PCR0", "PCR1", "PCR2"}, "recipe": {NAME: VALUE}}``. The recipe has
the digests of all inputs and of the image. Values that this machine cannot build are reported as such and not compared.
``--write`` renews the file. A value that cannot be built is carried over if its dependencies are unchanged; otherwise
it is omitted and listed under ``"not built"``. Verifiers do not accept a file without all three PCRs.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nitro.arguments import add_inputs, inputs_of
from nitro.dependencies import carry_over, depth, root_causes
from nitro.errors import BuildError
from nitro.inputs import ROOT
from nitro.measure import ALGORITHM, PCRS, Measured, measure
from tools.command_line import exit_with

FILE = ROOT / "measurements.txt"
RENEW = "python -m nitro.measurements --write"


@dataclass(frozen=True)
class Committed:
    """The values of registers and recipe, and the names that the file lists as not built."""

    values: Mapping[str, str]
    not_built: frozenset[str] = frozenset()


def load(file: Path) -> Committed:
    """Raises BuildError for a file of another format."""
    try:
        content = json.loads(file.read_text())
        pcrs = {name: value for name, value in content["Measurements"].items() if name != "HashAlgorithm"}
        return Committed({**content["recipe"], **pcrs}, frozenset(content.get("not built", ())))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"{file.name} is not a measurements file with a recipe: {error}") from error


def document(measured: Measured, before: Mapping[str, str]) -> dict[str, object]:
    """The new content of the file: all values built here, and those carried over from ``before``."""
    values = {**measured.values, **carry_over(before, measured.values, measured.unavailable)}
    pcrs = {name: values.pop(name) for name in PCRS if name in values}
    recipe = {name: values[name] for name in sorted(values, key=_sort_key)}
    content: dict[str, object] = {"Measurements": {"HashAlgorithm": ALGORITHM, **pcrs}, "recipe": recipe}
    absent = sorted(measured.unavailable.keys() - values.keys() - pcrs.keys(), key=_sort_key)
    return {**content, "not built": absent} if absent else content


def compare(committed: Committed, measured: Measured) -> Iterator[tuple[str, str]]:
    """The state of every value, dependencies first.

    ``same``, ``moved``, ``new`` or ``gone``; ``unknown`` if it is not built here, ``unwritten`` if it is built here but
    listed as not built in the file.
    """
    before = committed.values
    for name in sorted({*before, *committed.not_built, *measured.values, *measured.unavailable}, key=_sort_key):
        if name in measured.unavailable:
            yield name, "unknown"
        elif name not in before:
            yield name, "unwritten" if name in committed.not_built else "new"
        elif name not in measured.values:
            yield name, "gone"
        else:
            yield name, "same" if before[name] == measured.values[name] else "moved"


def _sort_key(name: str) -> tuple[bool, int, str]:
    return name in PCRS, name not in PCRS and depth(name), name


def verdict(states: Mapping[str, str]) -> tuple[int, str]:
    """Exit status and last line of output, which names root causes only."""

    def in_state(*wanted: str) -> list[str]:
        return [name for name, state in states.items() if state in wanted]

    if moved := in_state("moved", "new", "gone"):
        return 1, f"measurements moved: {', '.join(root_causes(moved))}"
    unwritten = f"; not in the file: {', '.join(absent)}" if (absent := in_state("unwritten")) else ""
    if unknown := in_state("unknown"):
        return 0, f"measurements hold as far as built here; not built: {', '.join(unknown)}{unwritten}"
    return 0, f"measurements hold: {', '.join(name for name in PCRS if states.get(name) == 'same')}{unwritten}"


def write(measured: Measured, file: Path) -> str:
    """Renew the file and return a one-line summary."""
    before = load(file) if file.exists() else Committed({})
    content = document(measured, before.values)
    file.write_text(json.dumps(content, indent=2) + "\n")
    after = load(file)
    held = sorted(measured.unavailable.keys() & after.values.keys(), key=_sort_key)
    parts = ["measurements written"]
    if held:
        parts.append(f"kept, since nothing that decides them moved: {', '.join(held)}")
    if after.not_built:
        parts.append(f"incomplete, not built: {', '.join(sorted(after.not_built, key=_sort_key))}")
    return "; ".join(parts)


def main() -> int:
    arguments = _arguments()
    try:
        program = arguments.daemon.read_bytes() if arguments.daemon else None
        measured = measure(inputs_of(arguments), program, arguments.blobs)
        for reason in sorted(set(measured.unavailable.values())):
            names = [name for name, why in measured.unavailable.items() if why == reason]
            print(f"not built here: {', '.join(names)}: {reason}", file=sys.stderr)
        if arguments.write:
            print(write(measured, arguments.file))
            return 0
        states = dict(compare(load(arguments.file), measured))
    except (BuildError, OSError) as error:
        print(f"measurements: {error}", file=sys.stderr)
        return 1
    print("".join(f"{state:10}{name}\n" for name, state in states.items()), end="")
    status, line = verdict(states)
    print(line if status == 0 else f"a wanted change? {RENEW}\n{line}")
    return status


def _arguments() -> argparse.Namespace:
    description = "Does the source still build to measurements.txt, and if not, which input moved?"
    parser = argparse.ArgumentParser(prog="python -m nitro.measurements", description=description)
    add_inputs(parser)
    parser.add_argument("--file", type=Path, default=FILE, help="the measurements file (measurements.txt)")
    parser.add_argument("--write", action="store_true", help="write the file instead of comparing")
    parser.add_argument(
        "--blobs", type=Path, metavar="DIR", help="measure the boot with nitro-cli's blobs; requires --file"
    )
    parser.add_argument("--daemon", type=Path, metavar="FILE", help="FILE instead of nitriding; requires --file")
    arguments = parser.parse_args()
    if (arguments.blobs or arguments.daemon) and arguments.file.resolve() == FILE:
        parser.error("a variant must not be written to measurements.txt: give another --file")
    return arguments


if __name__ == "__main__":
    exit_with(main)
