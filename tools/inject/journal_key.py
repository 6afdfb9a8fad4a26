"""``python -m tools.inject.journal_key FILE``: see that an environment file has a JOURNAL_KEY, and make one where not.

An enclave seals its journal of payments with that key before it leaves it on the host; the next one opens it with the
same. A key that is lost costs what was unsettled when it was. Exit status 2 where there is none and none can be added.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.keyring import JOURNAL_KEY_BYTES, journal_key
from tools.command_line import exit_with
from tools.inject.env_file import read_variables
from tools.verify.errors import UsageError

NAME = "JOURNAL_KEY"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status. Prints only if a key was added, or cannot be."""
    parser = argparse.ArgumentParser(prog="python -m tools.inject.journal_key", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the environment file, .env")
    file = parser.parse_args(argv).file
    try:
        if ensure_journal_key(file):
            print(f"{NAME} was generated and added to {file}: keep it for later enclaves")
    except UsageError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def ensure_journal_key(file: Path) -> bool:
    """Add a key if there is none, and return whether it was added. Raises UsageError for an invalid key or file."""
    if given := read_variables(file).get(NAME):
        try:
            journal_key(given)
        except ValueError:
            raise UsageError(f"{NAME} in {file} is not {JOURNAL_KEY_BYTES} bytes in hex or base64") from None
        return False
    try:
        _append(file, f"{NAME}={secrets.token_hex(JOURNAL_KEY_BYTES)}\n")
    except OSError as error:
        raise UsageError(f"{file} has no {NAME}, and none could be added: {error.strerror}") from None
    return True


def _append(file: Path, line: str) -> None:
    with file.open("rb+", buffering=0) as target:
        size = target.seek(0, os.SEEK_END)
        target.seek(max(0, size - 1))
        unterminated = target.read(1) not in (b"", b"\n")
        target.write((b"\n" if unterminated else b"") + line.encode())
        os.fsync(target.fileno())


if __name__ == "__main__":
    exit_with(main)
