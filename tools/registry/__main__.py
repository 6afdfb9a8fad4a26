"""``python -m tools.registry``: the TEE registry, from an operator's and an administrator's side.

Exit status: 0 done, 1 the chain refused or the enclave is not the expected one, 2 unusable options, 3 unreachable.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.billing.evm.values import ADDRESS, has_valid_checksum
from tools.command_line import exit_with
from tools.inject.attested import attest, read_root
from tools.verify.claims import one_line
from tools.verify.enclave import fetch_signing_key
from tools.verify.errors import MalformedError, UsageError, VerifyError
from tools.verify.fetch import origin
from tools.verify.inputs import read_measurements
from tools.verify.registry import DEFAULT_REGISTRY, DEFAULT_RPC, LLM_PROXY_TYPE
from tools.verify.signing_key import load_signing_key

if TYPE_CHECKING:
    from tools.registry.contract import Registry, Tee


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace, Registry], None] = arguments.run
    try:
        from tools.registry.contract import Registry as OnChain
    except ModuleNotFoundError as error:
        print(f"python -m tools.registry: needs the {error.name} package", file=sys.stderr)
        return 2
    try:
        run(arguments, OnChain(arguments.rpc, arguments.registry))
    except VerifyError as error:
        print(f"python -m tools.registry: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    return 0


def show(arguments: argparse.Namespace, registry: "Registry") -> None:
    """One record in full, or a line for every active one."""
    tee_id = arguments.tee_id or (_served_tee_id(arguments.url) if arguments.url else None)
    if tee_id is not None:
        print(_describe(registry.tee(tee_id), registry))
        return
    for tee in registry.active(arguments.type):
        print(f"{tee.tee_id} {one_line(tee.endpoint)} heartbeat {tee.heartbeat:%FT%TZ}")


def approve(arguments: argparse.Namespace, registry: "Registry") -> None:
    """Approve the image of the measurements for a type; nothing happens when it is approved already."""
    from tools.pay.account import read_account

    measurements = read_measurements(arguments.measurements)
    pcr_hash = measurements.pcr_hash
    if registry.is_approved(arguments.type, pcr_hash):
        print(f"0x{pcr_hash.hex()} is already approved")
        return
    transaction = registry.approve(read_account(arguments.key), measurements, arguments.version, arguments.type)
    print(f"0x{pcr_hash.hex()} approved as {arguments.version}: {transaction}")


def register(arguments: argparse.Namespace, registry: "Registry") -> None:
    """Verify the enclave as anybody would, then register the same document."""
    from tools.pay.account import read_account
    from tools.registry.contract import ChainRefusedError

    account = read_account(arguments.key)
    measurements = read_measurements(arguments.measurements)
    attested = attest(arguments.url, measurements, root=read_root(arguments.root))
    for claim in attested.claims:
        print(claim.line())
    pcr_hash = measurements.pcr_hash
    if not registry.is_approved(arguments.type, pcr_hash):
        raise ChainRefusedError(f"the registry has not approved 0x{pcr_hash.hex()} for type {arguments.type}")
    transaction = registry.register(
        account,
        attested.raw,
        attested.key.spki,
        attested.certificate,
        arguments.payment_address,
        arguments.endpoint or origin(arguments.url),
        arguments.type,
    )
    print(f"registered: {transaction}")
    print(_describe(registry.tee(attested.key.tee_id), registry))


def _describe(tee: "Tee", registry: "Registry") -> str:
    approved = registry.is_approved(tee.tee_type, tee.pcr_hash)
    facts = {
        "tee_id": tee.tee_id,
        "endpoint": one_line(tee.endpoint),
        "owner": tee.owner,
        "payment address": tee.payment_address,
        "type": tee.tee_type,
        "enabled": "yes" if tee.enabled else "no",
        "active": "yes" if registry.is_active(tee.tee_id) else "no",
        "PCR hash": f"0x{tee.pcr_hash.hex()} {'approved' if approved else 'NOT APPROVED'}",
        "key SHA-256": hashlib.sha256(tee.public_key).hexdigest(),
        "cert SHA-256": hashlib.sha256(tee.tls_certificate).hexdigest(),
        "registered": f"{tee.registered:%FT%TZ}",
        "heartbeat": f"{tee.heartbeat:%FT%TZ}",
    }
    return "\n".join(f"{name:<16} {value}" for name, value in facts.items())


def _served_tee_id(url: str) -> str:
    try:
        return load_signing_key(fetch_signing_key(url)).tee_id
    except MalformedError as error:
        raise UsageError(f"the response of {url}/signing-key is {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.registry", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace, "Registry"], None]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        added.set_defaults(run=run)
        added.add_argument("--rpc", default=DEFAULT_RPC, metavar="URL", help="the chain's node; default %(default)s")
        added.add_argument(
            "--registry", type=_address, default=DEFAULT_REGISTRY, metavar="ADDRESS", help="default %(default)s"
        )
        added.add_argument(
            "--type", type=_tee_type, default=LLM_PROXY_TYPE, metavar="N", help="TEE type; default %(default)s"
        )
        return added

    shown = command("show", show)
    which = shown.add_mutually_exclusive_group()
    which.add_argument("--tee-id", type=_tee_id, metavar="0x...", help="the record of this TEE")
    which.add_argument("--url", help="the record of the gateway here")

    approving = command("approve", approve)
    _add_transaction_arguments(approving, "an administrator of the registry")
    approving.add_argument("--version", required=True, metavar="TEXT", help="name of the image, e.g. v1.2.0")

    registering = command("register", register)
    _add_transaction_arguments(registering, "key file of an operator known to the registry")
    registering.add_argument("--url", required=True, help="the enclave, https://HOST[:PORT]")
    registering.add_argument(
        "--payment-address", type=_address, required=True, metavar="0x...", help="address that is paid"
    )
    registering.add_argument("--endpoint", metavar="URL", help="URL for clients; default: the origin of --url")
    registering.add_argument("--root", type=Path, metavar="FILE", help="FOR TESTS: trust this root instead of AWS's")
    return parser


def _add_transaction_arguments(command: argparse.ArgumentParser, who: str) -> None:
    command.add_argument("--measurements", type=Path, required=True, metavar="FILE", help="the image's PCRs")
    command.add_argument("--key", type=Path, required=True, metavar="FILE", help=f"the private key of {who}, in hex")


def _tee_type(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 255:
        raise argparse.ArgumentTypeError("not a number from 0 to 255")
    return int(text)


def _tee_id(text: str) -> str:
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError("not 0x followed by 64 hex digits")
    return text.lower()


def _address(text: str) -> str:
    if not ADDRESS.fullmatch(text):
        raise argparse.ArgumentTypeError("not 0x followed by 40 hex digits")
    if not has_valid_checksum(text):
        raise argparse.ArgumentTypeError("wrong EIP-55 checksum (the case of its letters): check it for typing errors")
    return text


if __name__ == "__main__":
    exit_with(main)
