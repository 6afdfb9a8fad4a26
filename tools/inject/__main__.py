"""``python -m tools.inject``: verify an enclave, then inject keys that only it can read.

Fetches the attestation over a fresh nonce and verifies its chain to AWS, the three PCRs against the measurements, the
TLS certificate and the hash of the signing key. Then seals the keys to the sealing key that the signing key vouches
for, posts the bundle over the host link, and verifies the signed receipt for it. Nobody in between, the host included,
can read the keys or put others in their place unseen. They are read from a file or standard input, nothing else.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from gateway.key_sealing import seal
from tools.command_line import exit_with
from tools.inject.attested import attest, read_root
from tools.inject.env_file import FIELDS, injection, read_variables
from tools.inject.host_link import fetch_sealing_key, post_bundle
from tools.verify.claims import one_line
from tools.verify.errors import VerifyError
from tools.verify.inputs import read_measurements

SEALED = "sealed on the host, where tools.journal_sink must run"
IN_MEMORY = "in the enclave's memory only; unsettled payments are lost when it stops (no JOURNAL_KEY)"
EPILOG = f"""\
The environment file has NAME=value lines. These names are injected; others are ignored with a note:
{fill(", ".join(sorted(FIELDS)), width=100, initial_indent="  ", subsequent_indent="  ")}

Exit status:
  0  injected, with a receipt
  1  refused: not the enclave that was expected, or no receipt (nothing was sent unless the message says so)
  2  the options, the measurements or the environment file cannot be used
  3  a URL could not be reached
  4  the gateway did not take the bundle: 403 not the host link, 409 injected before, 400 a value that it refuses,
     503 payments that cannot start with it
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    arguments = _parser().parse_args(argv)
    try:
        run(arguments)
    except VerifyError as error:
        print(f"python -m tools.inject: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Verify the enclave, then inject the keys. Raises VerifyError in any step."""
    measurements = read_measurements(arguments.measurements)
    root = read_root(arguments.root)
    fields, ignored = injection(read_variables(None if str(arguments.env_file) == "-" else arguments.env_file))
    if ignored:
        print(f"note: not injected: {', '.join(sorted(ignored))}", file=sys.stderr)
    if root is not None:
        print("note: TEST ROOT: this proves nothing about AWS", file=sys.stderr)
    attested = attest(arguments.attestation_url, measurements, root=root, allow_debug=arguments.allow_debug)
    for claim in attested.claims:
        print(claim.line())
    public_key = fetch_sealing_key(arguments.url, attested.key)
    print(f"PASS sealing_key vouched for by {attested.key.tee_id}")
    sealed = seal(json.dumps(fields).encode(), attested.key.tee_id, public_key)
    answer = post_bundle(arguments.url, sealed, attested.key)
    print("PASS receipt the enclave took this bundle and no other")
    print(f"injected: {', '.join(sorted(fields))}")
    print(f"journal: {SEALED if 'journal_key' in fields else IN_MEMORY}")
    print(f"heartbeat: {'on' if answer.get('heartbeat_enabled') is True else 'off'}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.inject",
        description=(__doc__ or "").partition("\n\n")[2],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--url",
        default="http://127.0.0.1:8000",
        help="URL of the host link, possibly forwarded by SSH; default %(default)s",
    )
    parser.add_argument("--attestation-url", required=True, metavar="URL", help="the public https://HOST[:PORT]")
    parser.add_argument(
        "--measurements", type=Path, required=True, metavar="FILE", help="the expected PCRs: measurements.txt"
    )
    parser.add_argument(
        "--env-file",
        type=Path,
        default=Path(".env"),
        metavar="FILE",
        help="keys and facts, - for standard input; default %(default)s",
    )
    parser.add_argument(
        "--allow-debug",
        action="store_true",
        help="accept a debug enclave, whose console the host can read and whose PCRs are zero: for test keys only",
    )
    parser.add_argument(
        "--root", type=Path, metavar="FILE", help="FOR TESTS: trust this root certificate instead of the AWS root"
    )
    return parser


if __name__ == "__main__":
    exit_with(main)
