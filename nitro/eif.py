"""``python -m nitro.eif``: the enclave image file, from the root file system and one of two ways to boot it."""

import argparse
import hashlib
import sys
from pathlib import Path

from nitro import boot
from nitro.arguments import add_inputs, inputs_of
from nitro.errors import BuildError
from nitro.image import daemon, rootfs
from nitro.inputs import BUILD, exclusive_build
from nitro.ramdisks import application, write
from nitro.tree import Tree
from tools.command_line import exit_with
from tools.eif.cpio import CpioError
from tools.eif.layout import EifError
from tools.eif.metadata import encode_metadata
from tools.eif.writer import Parts, write_eif


def main() -> int:
    arguments = _parser().parse_args()
    inputs = inputs_of(arguments)
    try:
        with exclusive_build():
            boot_parts = boot.nitro_cli(arguments.blobs) if arguments.blobs else boot.own(inputs)
            program = arguments.daemon.read_bytes() if arguments.daemon else daemon.build(inputs)
            ramdisk = application_ramdisk(rootfs.build(inputs, program))
            metadata = encode_metadata("tee-gateway", boot_parts.recipe)
            pcrs = write_eif(
                Parts(boot_parts.kernel, boot_parts.cmdline, (boot_parts.ramdisk, ramdisk), metadata), arguments.output
            )
    except (BuildError, EifError, CpioError, OSError) as error:
        print(f"eif: {error}", file=sys.stderr)
        return 1
    if arguments.daemon:
        print(f"variant with {arguments.daemon.name} instead of nitriding")
    print(f"recipe {boot_parts.recipe}")
    for index, value in sorted(pcrs.items()):
        print(f"PCR{index} {value.hex()}")
    with arguments.output.open("rb") as file:
        print(f"eif sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nitro.eif", description=__doc__)
    add_inputs(parser)
    parser.add_argument("--output", type=Path, default=BUILD / "enclave.eif", help="the image file (build/enclave.eif)")
    parser.add_argument("--blobs", type=Path, metavar="DIR", help="boot with nitro-cli's kernel, init and nsm.ko")
    parser.add_argument("--daemon", type=Path, metavar="FILE", help="FILE instead of nitriding: a variant for tests")
    return parser


def application_ramdisk(tree: Tree) -> Path:
    """The second ramdisk, which is the same for both boot recipes, and so is PCR2."""
    return write("application.cpio", application(tree, rootfs.COMMAND, rootfs.ENVIRONMENT))


if __name__ == "__main__":
    exit_with(main)
