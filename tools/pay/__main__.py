"""``python -m tools.pay``: exit 0 paid and verified, 1 not paid or not verified, 2 usage, 3 unreachable."""

import argparse
import codecs
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from gateway.billing.definitions import bundled
from tools.command_line import exit_with
from tools.pay.account import read_account
from tools.pay.chain import ChainReader
from tools.pay.offers import NotPaidError, Offer, known_offers, read_required, with_single_offer
from tools.pay.receipt import check, read_payment, read_settlement, summary
from tools.pay.request import MAY_BE_CHARGED, Answer, Session, sign
from tools.pay.signer import ConsentingSigner, RpcSigner
from tools.verify import strict_json
from tools.verify.claims import Report, failed, one_line
from tools.verify.errors import MalformedError, UnreachableError, UsageError, VerifyError
from tools.verify.fetch import origin
from tools.verify.inputs import read_file
from tools.verify.response import verify_response
from tools.verify.response_command import UNBOUND_KEY, fetch_key


def main(argv: Sequence[str] | None = None) -> int:
    """Pay for one request; the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return run(arguments)
    except VerifyError as error:
        print(f"tools.pay: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.pay", description=__doc__)
    parser.add_argument("url", metavar="URL", help="the endpoint, e.g. https://HOST/v1/chat/completions")
    parser.add_argument("--body", type=Path, required=True, metavar="REQ.json", help="the request body")
    parser.add_argument("--key", type=Path, required=True, metavar="KEYFILE", help="the payer's private key in hex")
    parser.add_argument(
        "--rpc", metavar="URL", help="an RPC endpoint: for balances, first-time permits and a look at the transfer"
    )
    parser.add_argument("--offer", type=int, metavar="N", help="accept this offer instead of the first affordable one")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the answer to this file, as received")
    parser.add_argument("--cert", type=Path, metavar="PEM", help="trust only this certificate of the gateway")
    parser.add_argument("--yes", action="store_true", help="sign without confirmation")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Request the offers, pay one, print the answer and verify it; the exit code."""
    body = read_file(arguments.body, what="request")
    request = read_request(body)
    account = read_account(arguments.key)
    base_url = origin(arguments.url)
    _check_output(arguments.output)
    chain = ChainReader(arguments.rpc) if arguments.rpc else None
    with httpx.Client(verify=_ssl_context(arguments.cert), follow_redirects=False) as http:
        session = Session(http, arguments.url)
        first = session.send(body)
        if first.status == 200:
            raise NotPaidError("this gateway does not require payment")
        if first.status != 402:
            raise NotPaidError(f"the gateway rejected the request: {describe_error(first)}")
        required = read_required(first.headers)
        offers = known_offers(required, bundled())
        for number, offer in enumerate(offers, start=1):
            print(f"offer {number}: {offer}")
        offer = choose(offers, arguments.offer, account.address, chain)
        print(f"\npaying {offer.requirements.pay_to} from {account.address}: {offer}", flush=True)
        consent = show if arguments.yes else ask
        signer = ConsentingSigner(account, consent) if chain is None else RpcSigner(account, consent, chain)
        answer = session.send(body, sign(with_single_offer(required, offer), signer), _printer())
    if answer.status != 200:
        raise NotPaidError(f"no answer was given: {describe_error(answer)}{_charged_all_the_same(answer)}")
    _write(arguments.output, answer.body)
    return report(base_url, request, answer, offer, account.address, chain)


def choose(offers: Sequence[Offer], number: int | None, payer: str, chain: ChainReader | None) -> Offer:
    """The offer of that number, or the first that the payer can afford, as far as its balance is known."""
    if number is not None:
        if not 1 <= number <= len(offers):
            raise UsageError(f"there is no offer {number}")
        return offers[number - 1]
    for offer in offers:
        if chain is None or chain.balance(offer.token, payer) >= offer.amount:
            return offer
    raise NotPaidError(
        f"{payer} cannot afford any of the offers" if offers else "none of the offers is in a known token"
    )


def show(message: str) -> None:
    """Print a message to be signed."""
    print(f"\nsigning {message}", flush=True)


def ask(message: str) -> None:
    """Print a message and ask for consent; raises NotPaidError for anything but yes."""
    show(message)
    try:
        reply = input("sign this? [y/N] ")
    except (EOFError, KeyboardInterrupt):
        reply = ""
    if reply.strip().lower() not in ("y", "yes"):
        raise NotPaidError("nothing was sent")


def report(
    base_url: str, request: dict[str, Any], answer: Answer, offer: Offer, payer: str, chain: ChainReader | None
) -> int:
    """Print the payment and the result of every check; the exit code. ``base_url`` serves the signing key."""
    try:
        payment = read_payment(answer)
    except MalformedError as error:
        raise NotPaidError(f"the response is {error}; {MAY_BE_CHARGED}") from None
    print(f"\n\n{summary(offer, payment)}\n")
    claims = list(check(offer, answer, payment, payer, chain))
    try:
        claims += verify_response(fetch_key(base_url), request, answer.body)
    except UnreachableError as error:
        claims.append(failed("signature", f"the signing key could not be fetched: {error}"))
    verdict = Report(claims, [UNBOUND_KEY], meaning="charged the amount due, and signed for exactly this request")
    verdict.write(sys.stdout)
    return verdict.exit_code


def describe_error(answer: Answer) -> str:
    """Status, code and message of an error response, as far as it has them."""
    try:
        error = strict_json.loads_object(answer.body).get("error")
    except MalformedError:
        error = None
    details = [error.get("code"), error.get("message")] if isinstance(error, dict) else []
    return f"{answer.status} {': '.join(str(each) for each in details if each is not None)}"


def _charged_all_the_same(answer: Answer) -> str:
    if (settled := read_settlement(answer)) is None:
        return ""
    return f"; the payment was settled upfront ({settled.get('transaction')}) and is credited to your next upfront one"


def read_request(body: bytes) -> dict[str, Any]:
    try:
        return strict_json.loads_object(body)
    except MalformedError as error:
        raise UsageError(f"the request is {error}") from None


def _ssl_context(certificate: Path | None) -> ssl.SSLContext | bool:
    """Pin a certificate: an enclave's is self-signed and verified by attestation, so its host name is not checked."""
    if certificate is None:
        return True
    try:
        context = ssl.create_default_context(cafile=str(certificate))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{certificate} is not a certificate: {error}") from None
    context.check_hostname = False
    return context


def _check_output(path: Path | None) -> None:
    """Raise UsageError, before anything is paid, if the file cannot be written."""
    if path is not None:
        try:
            path.open("ab").close()
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _write(path: Path | None, answer: bytes) -> None:
    """Write the answer; a failure is reported, but the answer has been paid for, and is verified all the same."""
    if path is not None:
        try:
            path.write_bytes(answer)
        except OSError as error:
            print(f"\ntools.pay: cannot write {path}: {error.strerror}", file=sys.stderr)


def _printer() -> Callable[[bytes], None]:
    """Prints an answer's chunks. Control characters, which could hide the verdict that follows, are escaped. A closed
    pipe must not lose the rest of the answer."""
    decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode

    def print_chunk(chunk: bytes) -> None:
        with suppress(BrokenPipeError):
            sys.stdout.buffer.write(decode(chunk).translate(_ESCAPED).encode())
            sys.stdout.flush()

    return print_chunk


_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}


if __name__ == "__main__":
    exit_with(main)
