"""``python -m nitro.image``: the enclave's root file system as one archive for Docker and OCI tools."""

import argparse
import sys
from pathlib import Path

from nitro.arguments import add_inputs, inputs_of
from nitro.errors import BuildError
from nitro.image import daemon, oci, rootfs
from nitro.inputs import BUILD
from nitro.tree import Tree
from tools.command_line import exit_with

SIZE_LIMIT = 150_000_000


def main() -> int:
    arguments = _parser().parse_args()
    inputs = inputs_of(arguments)
    try:
        program = arguments.daemon.read_bytes() if arguments.daemon else daemon.build(inputs)
        tree = rootfs.build(inputs, program)
        refuse_bulk(tree)
        if arguments.rootfs:
            tree.write_to(arguments.rootfs)
        image = oci.pack(tree, name=rootfs.NAME, command=rootfs.COMMAND, environment=rootfs.ENVIRONMENT)
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_bytes(image.archive)
        listing = tree.listing()
        list_file = arguments.output.with_suffix(".files")
        list_file.write_text(listing)
    except (BuildError, OSError) as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    if arguments.daemon:
        print(f"variant with {arguments.daemon.name} instead of nitriding")
    if arguments.list:
        print(listing, end="")
    entries = len(listing.splitlines())
    print(f"files {tree.digest()} {tree.size()} bytes, {entries} entries, listed in {list_file.name}")
    print(f"image {image.digest}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nitro.image", description=__doc__)
    add_inputs(parser)
    parser.add_argument("--output", type=Path, default=BUILD / "image.tar", help="the archive (build/image.tar)")
    parser.add_argument("--rootfs", type=Path, metavar="DIR", help="also write the root file system to DIR")
    parser.add_argument("--list", action="store_true", help="also print every file with its mode and SHA-256")
    parser.add_argument(
        "--daemon", type=Path, metavar="FILE", help="FILE instead of nitriding: a variant for tests, never published"
    )
    return parser


def refuse_bulk(tree: Tree) -> None:
    if tree.size() >= SIZE_LIMIT:
        raise BuildError(f"the root file system has {tree.size()} bytes, {SIZE_LIMIT} are too many")


if __name__ == "__main__":
    exit_with(main)
