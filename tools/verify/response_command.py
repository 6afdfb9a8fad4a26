"""``python -m tools.verify response``: is this answer what this key signed for this request?"""

import argparse
from pathlib import Path
from urllib.parse import urlsplit

from tools.verify.claims import Report
from tools.verify.errors import MalformedError, UnreachableError
from tools.verify.fetch import fetch, origin
from tools.verify.inputs import read_file, read_json_object, read_key
from tools.verify.response import NOT_COVERED, verify_response
from tools.verify.signing_key import SigningKey, load_signing_key

UNBOUND_KEY = (
    "the key came from a URL whose certificate was not checked; `attestation` or `answer` ties it to measured code"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--key", type=Path, metavar="FILE", help="signing key: PEM, or the JSON of /signing-key")
    source.add_argument("--key-url", metavar="URL", help="where to fetch it, e.g. https://HOST/signing-key")
    add_exchange_arguments(parser)


def add_exchange_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--request", type=Path, required=True, metavar="REQ.json", help="the request body as sent")
    parser.add_argument(
        "--response", type=Path, required=True, metavar="FILE", help="the answer as received: JSON body or SSE stream"
    )


def run(arguments: argparse.Namespace) -> Report:
    key = read_key(arguments.key) if arguments.key else fetch_key(arguments.key_url)
    request = read_json_object(arguments.request, what="request")
    claims = verify_response(key, request, read_file(arguments.response, what="response"))
    return Report(claims, [UNBOUND_KEY] if arguments.key_url else [], NOT_COVERED)


def fetch_key(url: str) -> SigningKey:
    """Fetch the key from ``url``, or from its ``/signing-key`` if it has no path."""
    base = origin(url)
    if urlsplit(url).path in ("", "/"):
        url = base + "/signing-key"
    body = fetch(url).body
    try:
        return load_signing_key(body)
    except MalformedError as error:
        raise UnreachableError(f"the response of {url} is {error}") from None
