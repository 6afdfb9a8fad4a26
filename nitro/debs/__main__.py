"""``python -m nitro.debs lock``: renew ``nitro/debs.lock`` on purpose and say what moved."""

import argparse
import datetime
import sys
import tempfile
from pathlib import Path

from nitro.debs.lock import LOCK_FILE, Lock
from nitro.debs.resolve import resolve
from nitro.errors import BuildError
from tools.command_line import exit_with


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m nitro.debs", description=__doc__)
    parser.add_argument("command", choices=["lock"])
    parser.add_argument("--file", type=Path, default=LOCK_FILE)
    arguments = parser.parse_args()
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        before = Lock.load(arguments.file) if arguments.file.exists() else Lock("", {})
        with tempfile.NamedTemporaryFile() as empty:
            after = resolve(now, Path(empty.name))
        if moved := changes(before, after):
            after.save(arguments.file)
    except (BuildError, OSError) as error:
        print(f"lock-debs: {error}", file=sys.stderr)
        return 1
    print("".join(f"{line}\n" for line in moved) + f"{len(moved)} changes")
    return 0


def changes(before: Lock, after: Lock) -> list[str]:
    """One line for every package whose bytes differ, ``SET PACKAGE OLD -> NEW``."""
    lines = []
    for name, debs in after.sets.items():
        old = {deb.package: deb for deb in before.sets.get(name, ())}
        new = {deb.package: deb for deb in debs}
        for package in sorted(old | new):
            was, now = old.get(package), new.get(package)
            if (was and was.sha256) != (now and now.sha256):
                lines.append(f"{name} {package} {was.version if was else '-'} -> {now.version if now else '-'}")
    return lines


if __name__ == "__main__":
    exit_with(main)
