"""Command-line options shared by the build commands."""

import argparse
from pathlib import Path

from nitro.inputs import Inputs


def add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--inputs",
        type=Path,
        default=Inputs().folder,
        metavar="DIR",
        help="directory in which fetched inputs are cached",
    )
    parser.add_argument(
        "--offline",
        type=_folder,
        metavar="DIR",
        help="do not use the network: take every input from DIR, where an earlier build of yours has put it; only the "
        "Debian packages are verified again",
    )


def _folder(path: str) -> Path:
    if not Path(path).is_dir():
        raise argparse.ArgumentTypeError(f"{path} is not a directory")
    return Path(path)


def inputs_of(arguments: argparse.Namespace) -> Inputs:
    if arguments.offline is not None:
        return Inputs(arguments.offline, offline=True)
    return Inputs(arguments.inputs)
