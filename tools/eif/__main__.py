"""``python -m tools.eif``: exit 0 done, 1 not an image to boot, 2 wrong use."""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tools.command_line import exit_with
from tools.eif.layout import Architecture, EifError
from tools.eif.metadata import FIXED_BUILD_TIME, encode_metadata
from tools.eif.pcrs import Pcrs, measurements
from tools.eif.reader import EifImage, read_eif
from tools.eif.writer import Parts, Signer, measure, write_eif

_ARCHITECTURES = {architecture.name.lower(): architecture for architecture in Architecture}


class UsageError(Exception):
    """An invalid combination or value of options."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except UsageError as error:
        print(f"{parser.prog} {arguments.command}: {error}", file=sys.stderr)
        return 2
    except UnicodeEncodeError:
        print(f"{parser.prog} {arguments.command}: an option is not UTF-8", file=sys.stderr)
        return 2
    except (EifError, OSError) as error:
        print(f"{parser.prog} {arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.eif", description="Enclave image files.")
    commands = parser.add_subparsers(dest="command", required=True)

    build = commands.add_parser("build", help="write an EIF; the last line is its SHA-256")
    _add_parts(build, required=True)
    build.add_argument("--output", type=Path, required=True, metavar="EIF")
    build.add_argument("--arch", choices=_ARCHITECTURES, default="x86_64")
    build.add_argument("--name", default="tee-gateway", help="image name in the metadata (default: %(default)s)")
    build.add_argument("--image-version", default="0", help="image version in the metadata")
    build.add_argument("--kernel-version", default="Unknown", help="kernel version in the metadata")
    build.add_argument("--build-time", default=FIXED_BUILD_TIME, help="in the metadata (default: %(default)s)")
    build.add_argument("--private-key", type=Path, metavar="PEM", help="P-384 key to sign PCR0 with")
    build.set_defaults(run=_build)

    pcrs = commands.add_parser("pcrs", help="print the PCRs of an EIF, or of the parts it would be made of")
    pcrs.add_argument("eif", type=Path, nargs="?", metavar="EIF")
    _add_parts(pcrs, required=False)
    pcrs.add_argument("--json", action="store_true", help="print them in the form of measurements.txt")
    pcrs.set_defaults(run=_pcrs)

    show = commands.add_parser("show", help="print an EIF's sections, command line, metadata and PCRs as JSON")
    show.add_argument("eif", type=Path, metavar="EIF")
    show.set_defaults(run=_show)
    return parser


def _add_parts(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--kernel", type=Path, required=required, metavar="FILE")
    cmdline = parser.add_mutually_exclusive_group(required=required)
    cmdline.add_argument("--cmdline", metavar="TEXT", help="kernel command line")
    cmdline.add_argument(
        "--cmdline-file",
        type=Path,
        metavar="FILE",
        help="the same from a file, stripped of surrounding whitespace, as nitro-cli does",
    )
    parser.add_argument(
        "--ramdisk", type=Path, action="append", required=required, metavar="FILE", help="in boot order"
    )
    parser.add_argument("--certificate", type=Path, metavar="PEM", help="signing certificate; it gives PCR8")


def _build(arguments: argparse.Namespace) -> None:
    metadata = encode_metadata(arguments.name, arguments.image_version, arguments.kernel_version, arguments.build_time)
    if bool(arguments.certificate) != bool(arguments.private_key):
        raise UsageError("--certificate and --private-key go together")
    parts = Parts(
        kernel=arguments.kernel,
        cmdline=_cmdline(arguments),
        ramdisks=tuple(arguments.ramdisk),
        metadata=metadata,
        architecture=_ARCHITECTURES[arguments.arch],
    )
    signer = None
    if arguments.certificate:
        signer = Signer(arguments.certificate.read_bytes(), _private_key(arguments.private_key))
    _print_pcrs(write_eif(parts, arguments.output, signer))
    with arguments.output.open("rb") as file:
        print(f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}")


def _pcrs(arguments: argparse.Namespace) -> None:
    cmdline_given = arguments.cmdline is not None or arguments.cmdline_file is not None
    parts_given = [arguments.kernel is not None, bool(arguments.ramdisk), cmdline_given]
    if arguments.eif and any([*parts_given, arguments.certificate]):
        raise UsageError("either an EIF or its parts")
    if arguments.eif:
        pcrs = read_eif(arguments.eif).pcrs
    elif all(parts_given):
        parts = Parts(arguments.kernel, _cmdline(arguments), tuple(arguments.ramdisk))
        pcrs = measure(parts, arguments.certificate.read_bytes() if arguments.certificate else None)
    else:
        raise UsageError("an EIF, or --kernel, --cmdline and --ramdisk")
    if arguments.json:
        print(json.dumps(measurements(pcrs), indent=2))
    else:
        _print_pcrs(pcrs)


def _show(arguments: argparse.Namespace) -> None:
    print(json.dumps(_description(read_eif(arguments.eif)), indent=2))


def _description(image: EifImage) -> dict[str, object]:
    return {
        "Architecture": image.architecture.name.lower(),
        "Sections": [{"Type": section.type.name.lower(), "Bytes": section.size} for section in image.sections],
        "CommandLine": image.cmdline.decode(errors="backslashreplace"),
        "Metadata": image.metadata,
        "SigningCertificateSha256": hashlib.sha256(image.certificate).hexdigest() if image.certificate else None,
        "Crc32": f"{image.crc:08x}",
        **measurements(image.pcrs),
    }


def _print_pcrs(pcrs: Pcrs) -> None:
    for index, value in sorted(pcrs.items()):
        print(f"PCR{index} {value.hex()}")


def _cmdline(arguments: argparse.Namespace) -> bytes:
    if arguments.cmdline is not None:
        return str(arguments.cmdline).encode()
    return bytes(arguments.cmdline_file.read_bytes()).strip()


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        raise UsageError(f"{path} is not an unencrypted PEM private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{path} is not an elliptic-curve key")
    return key


if __name__ == "__main__":
    exit_with(main)
