"""``python -m tools.verify answer``: did this answer come from this code? Attestation, key and answer in one run."""

import argparse
from collections.abc import Iterable
from dataclasses import replace

from tools.verify import attestation_command
from tools.verify.claims import Claim, Report, Verdict, failed
from tools.verify.errors import UsageError
from tools.verify.inputs import read_file, read_json_object
from tools.verify.response import NOT_COVERED, verify_response
from tools.verify.response_command import add_exchange_arguments

_NEEDED = ("chain", "signature", "time", "pcrs", "key_hash")
_MEANING = "this answer came from this code"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    attestation_command.add_arguments(parser)
    add_exchange_arguments(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Claims of the document as ``attestation.…``, of the answer as ``response.…``.

    What links the answer to the code may not be skipped: path, signature, time, PCRs and key hash have to pass.
    """
    if not arguments.measurements:
        raise UsageError("--measurements is needed: without expected PCRs there is no code to speak of")
    request = read_json_object(arguments.request, what="request")
    response = read_file(arguments.response, what="response")
    inspection = attestation_command.inspect(arguments)
    if inspection.key is None:
        raise UsageError("; ".join(["no signing key: give --key", *inspection.notes]))
    attested = [_required(claim) for claim in inspection.verification.claims]
    answered = verify_response(inspection.key, request, response)
    claims = [*_prefixed("attestation", attested), *_prefixed("response", answered)]
    return Report(claims, inspection.notes, NOT_COVERED, _MEANING)


def _required(claim: Claim) -> Claim:
    if claim.name in _NEEDED and claim.verdict is Verdict.SKIP:
        return failed(claim.name, f"needed here, but: {claim.detail}")
    return claim


def _prefixed(prefix: str, claims: Iterable[Claim]) -> list[Claim]:
    return [replace(claim, name=f"{prefix}.{claim.name}") for claim in claims]
