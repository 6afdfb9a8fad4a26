"""``python -m tools.verify answer``: did this answer come from this code? Attestation, key and answer in one run."""

import argparse
from collections.abc import Iterable
from dataclasses import replace

from tools.verify import attestation_command
from tools.verify.claims import Claim, Report
from tools.verify.errors import UsageError
from tools.verify.inputs import read_file, read_json_object
from tools.verify.response import NOT_COVERED, verify_response
from tools.verify.response_command import add_exchange_arguments

_MEANING = "this answer came from this code"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    attestation_command.add_arguments(parser)
    add_exchange_arguments(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Report the document's claims as ``attestation.…`` and the answer's as ``response.…``.

    Measurements and a key are required, without which the document does not tie the answer to the code.
    """
    if not arguments.measurements:
        raise UsageError("--measurements is required: it has the expected PCRs")
    request = read_json_object(arguments.request, what="request")
    response = read_file(arguments.response, what="response")
    inspection = attestation_command.inspect(arguments)
    if inspection.key is None:
        raise UsageError("; ".join(["no signing key: give --key", *inspection.notes]))
    attested = inspection.verification.claims
    answered = verify_response(inspection.key, request, response)
    claims = [*_add_prefix("attestation", attested), *_add_prefix("response", answered)]
    return Report(claims, inspection.notes, NOT_COVERED, _MEANING)


def _add_prefix(prefix: str, claims: Iterable[Claim]) -> list[Claim]:
    return [replace(claim, name=f"{prefix}.{claim.name}") for claim in claims]
