"""``python -m tools.verify attestation``: which code runs there, and which certificate and key belong to it?"""

import argparse
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tools.verify import registry
from tools.verify.attestation.document import MAX_BASE64_BYTES
from tools.verify.attestation.policy import LEAF_LIFETIME, LIVE_MAX_AGE, Expectations, Verification, verify_attestation
from tools.verify.attestation.root import aws_root, fingerprint
from tools.verify.claims import Report
from tools.verify.enclave import NITRIDING_NONCE_BYTES, fetch_document, fetch_signing_key
from tools.verify.errors import MalformedError, UnreachableError
from tools.verify.inputs import read_certificate, read_file, read_key, read_measurements
from tools.verify.signing_key import SigningKey, load_signing_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--url", help="gateway to ask, https://HOST[:PORT]; its document, certificate and key are used")
    source.add_argument("--document", type=Path, metavar="FILE", help="a saved document, raw CBOR or base64")
    parser.add_argument("--measurements", type=Path, metavar="FILE", help="expected PCRs: measurements.txt")
    parser.add_argument(
        "--nonce", type=_hex, metavar="HEX", help="nonce that the document must carry; with --url the default is random"
    )
    parser.add_argument("--cert", type=Path, metavar="FILE", help="TLS certificate (PEM or DER) that must be attested")
    parser.add_argument("--key", type=Path, metavar="FILE", help="signing key (PEM or /signing-key JSON), likewise")
    parser.add_argument(
        "--at",
        choices=("now", "document"),
        default="now",
        help="now: valid and fresh today; document: was it valid when it was made (for archives)",
    )
    parser.add_argument(
        "--max-age",
        type=_seconds,
        metavar="SECONDS",
        help=f"oldest document that is fresh; default {LIVE_MAX_AGE.seconds} with --url, else {LEAF_LIFETIME.seconds}",
    )
    parser.add_argument("--allow-debug", action="store_true", help="accept a debug enclave, whose console is open")
    parser.add_argument(
        "--root", type=Path, metavar="FILE", help="FOR TESTS: trust this root certificate instead of the AWS root"
    )
    chain = parser.add_argument_group("on-chain registry")
    chain.add_argument("--chain", action="store_true", help="compare with what the TEE registry has on chain")
    chain.add_argument("--rpc", default=registry.DEFAULT_RPC, metavar="URL", help="default %(default)s")
    chain.add_argument("--registry", default=registry.DEFAULT_REGISTRY, metavar="ADDRESS", help="default %(default)s")


@dataclass(frozen=True, slots=True)
class Inspection:
    """A verified document and the gateway's signing key, if one was given or fetched."""

    verification: Verification
    key: SigningKey | None
    notes: list[str]


def run(arguments: argparse.Namespace) -> Report:
    inspection = inspect(arguments)
    return Report(inspection.verification.claims, inspection.notes)


def inspect(arguments: argparse.Namespace) -> Inspection:
    """Read or fetch the inputs, verify the document and, with ``--chain``, compare it with the registry."""
    notes: list[str] = []
    root = _root(arguments.root, notes)
    measurements = read_measurements(arguments.measurements) if arguments.measurements else None
    key = read_key(arguments.key) if arguments.key else None
    certificates = [_certificate(arguments.cert)] if arguments.cert else []
    nonce = arguments.nonce
    if arguments.url is not None:
        nonce = nonce or secrets.token_bytes(NITRIDING_NONCE_BYTES)
        fetched = fetch_document(arguments.url, nonce)
        document = fetched.body
        certificates += [fetched.certificate] if fetched.certificate else []
        key = key or _served_key(arguments.url, notes)
    else:
        document = read_file(arguments.document, what="document", limit=MAX_BASE64_BYTES)
    expected = Expectations(
        now=datetime.now(UTC) if arguments.at == "now" else None,
        max_age=_max_age(arguments),
        measurements=measurements,
        nonce=nonce,
        tls_certificates=tuple(certificates),
        key=key,
        allow_debug=arguments.allow_debug,
        root=root,
    )
    verification = verify_attestation(document, expected)
    if arguments.chain and verification.document:
        tees = registry.active_tees(arguments.rpc, arguments.registry)
        verification.claims.extend(registry.compare(verification.document, tees))
    return Inspection(verification, key, notes)


def _max_age(arguments: argparse.Namespace) -> timedelta:
    given: timedelta | None = arguments.max_age
    if given is not None:
        return given
    return LIVE_MAX_AGE if arguments.url else LEAF_LIFETIME


def _root(path: Path | None, notes: list[str]) -> x509.Certificate:
    if path is None:
        return aws_root()
    root = read_certificate(path, what="root certificate")
    notes.append(f"TEST ROOT: trusting {fingerprint(root)} instead of the AWS root; this proves nothing about AWS")
    return root


def _certificate(path: Path) -> bytes:
    return read_certificate(path, what="certificate").public_bytes(Encoding.DER)


def _served_key(url: str, notes: list[str]) -> SigningKey | None:
    """Fetch the key from /signing-key; on failure add a note, so that the claim is skipped."""
    try:
        return load_signing_key(fetch_signing_key(url))
    except UnreachableError as error:
        notes.append(f"no signing key to compare: {error}")
    except MalformedError as error:
        notes.append(f"no signing key to compare: the response of /signing-key is {error}")
    return None


def _hex(text: str) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if not 0 < len(value) <= 512:
        raise argparse.ArgumentTypeError("not 1 to 512 bytes in hex digits")
    return value


def _seconds(text: str) -> timedelta:
    try:
        span = timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        span = timedelta(-1)
    if span < timedelta(0):
        raise argparse.ArgumentTypeError("not a non-negative number of seconds")
    return span
