"""``python -m tools.verify``: exit 0 valid, 1 invalid, 2 unusable input, 3 a URL could not be reached."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from tools.command_line import exit_with
from tools.verify import answer_command, attestation_command, measurements_command, response_command
from tools.verify.claims import Report, one_line
from tools.verify.errors import UsageError, VerifyError


class Command(Protocol):
    """The module of a command."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> Report: ...


_COMMANDS: dict[str, tuple[str, Command]] = {
    "response": ("is this answer what this key signed for this request?", response_command),
    "attestation": ("which code runs there, and which certificate and key belong to it?", attestation_command),
    "answer": ("did this answer come from this code? verify attestation, key and answer at once", answer_command),
    "measurements": ("is this file complete enough to verify an image against?", measurements_command),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, print its report and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.verify", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (summary, module) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.add_argument("--json", action="store_true", help="print the report as JSON")
        command.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    try:
        report: Report = arguments.run(arguments)
    except VerifyError as error:
        print(f"{parser.prog} {arguments.command}: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    try:
        _print_report(report, as_json=arguments.json)
    except OSError as error:
        print(f"{parser.prog} {arguments.command}: the report cannot be written: {error.strerror}", file=sys.stderr)
        return UsageError.exit_code
    return report.exit_code


def _print_report(report: Report, *, as_json: bool) -> None:
    """Print the report; a closed pipe is not an error."""
    try:
        report.write(sys.stdout, as_json=as_json)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise


if __name__ == "__main__":
    exit_with(main)
