"""Attestation documents and the security module's responses: any CBOR, COSE and DER yields verdicts or NsmErrors.

The documents are signed by a double under a root that the verifier trusts here, so that mutated fields can have a
valid signature.
"""

import base64
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import cbor2

from gateway.nsm import Nsm, NsmError
from tools.fuzz.cbor import cbor_value, mutate_cbor
from tools.fuzz.mutations import mutate_bytes, mutate_tree
from tools.fuzz.target import BrokenPropertyError, Target
from tools.verify.attestation.measurements import Measurements
from tools.verify.attestation.policy import CLAIMS, Expectations, verify_attestation
from tools.verify.claims import Verdict
from tools.verify.double import DEFAULT_PCRS, PROTECTED_ES384, AttestationDouble, Fields, encode_payload

_MADE = datetime(2026, 11, 22, 12, tzinfo=UTC)
_NONCE = b"n" * 20
_CERTIFICATE = b"certificate"


@cache
def _enclave() -> AttestationDouble:
    return AttestationDouble(_MADE, secret=1)


@cache
def _expected() -> Expectations:
    return Expectations(
        now=None,
        measurements=Measurements((DEFAULT_PCRS[0], DEFAULT_PCRS[1], DEFAULT_PCRS[2])),
        nonce=_NONCE,
        tls_certificates=(_CERTIFICATE,),
        root=_enclave().root,
    )


def _fields() -> Fields:
    return _enclave().fields(tls_certificate=_CERTIFICATE, app_key_hash=b"k" * 32, nonce=_NONCE)


@dataclass(frozen=True)
class Evidence:
    """A document; ``valid``: it must be accepted or refused, None: either."""

    document: bytes
    valid: bool | None


def _make_document(random: Random) -> Evidence:
    if random.random() < 0.15:
        return Evidence(_noncanonical(random), valid=False)
    document = _signed(random)
    if random.random() < 0.3:
        document = mutate_bytes(random, document, random.randint(1, 3))
    if random.random() < 0.2:
        document = base64.b64encode(document)
        if random.random() < 0.5:
            document = mutate_bytes(random, document, 1)
    return Evidence(document, True if _raw(document) == _enclave().sign(_fields()) else None)


_SPELLINGS = (
    (b"\x66digest", b"\x78\x06digest"),  # a length in more bytes than it needs
    (b"\x66digest", b"\x7f\x66digest\xff"),  # a text in pieces
    (b"\x66digest", b"\xd9\xd9\xf7\x66digest"),  # a tag that means nothing
    (b"\x66digest", b"\x65nonce\xf6\x66digest"),  # a key twice
    (b"\x66SHA384", b"\x66SHA384\x61x\xf9\x3c\x00"),  # a number of half precision, in a field more
)
_HEADERS: tuple[Any, ...] = (bytes.fromhex("a1013823"), bytes.fromhex("a10126"), bytes.fromhex("a0"), b"", None, {})
_UNPROTECTED: tuple[Any, ...] = ({4: b"key"}, {1: -35}, None, [])
_ENDS = (b"\x00", b"\xff", b"\xf6")


def _noncanonical(random: Random) -> bytes:
    """A valid document, signed, but not in the canonical encoding, the only one that is accepted."""
    payload, end = encode_payload(_fields()), b""
    protected: Any = PROTECTED_ES384
    unprotected: Any = {}
    match random.randrange(6):
        case 0:
            payload = payload.replace(*random.choice(_SPELLINGS), 1)
        case 1:
            payload += random.choice(_ENDS)
        case 2:
            protected = random.choice(_HEADERS)
        case 3:
            unprotected = random.choice(_UNPROTECTED)
        case 4:
            end = random.choice(_ENDS)
        case 5:
            return b"\xd2\x98\x04" + _enclave().sign_payload(payload)[1:]

    def edit(array: list[Any]) -> None:
        array[:2] = protected, unprotected

    return _enclave().sign_payload(payload, edit=edit) + end


def _signed(random: Random) -> bytes:
    """A document whose payload, certificates or COSE array were mutated before or after signing."""
    enclave, fields = _enclave(), _fields()
    match random.randrange(6):
        case 0:
            return enclave.sign(fields)
        case 1:
            return enclave.sign_payload(mutate_cbor(random, fields, random.randint(1, 3)))
        case 2:
            payload = encode_payload(mutate_tree(random, fields, random.randint(1, 2), cbor_value), definite=False)
            return enclave.sign_payload(mutate_bytes(random, payload) if random.random() < 0.2 else payload)
        case 3:
            fields["certificate"] = mutate_bytes(random, fields["certificate"], random.randint(1, 2))
        case 4:
            place = random.randrange(len(fields["cabundle"]))
            fields["cabundle"][place] = mutate_bytes(random, fields["cabundle"][place], random.randint(1, 2))
        case 5:
            return mutate_cbor(random, cbor2.loads(enclave.sign(fields)), random.randint(1, 2))
    return enclave.sign(fields)


def _raw(document: bytes) -> bytes:
    if document[:1] in (b"\x84", b"\xd2"):
        return document
    try:
        return base64.b64decode(b"".join(document.split()), validate=True)
    except ValueError:
        return b""


def _check_document(evidence: Evidence) -> None:
    verification = verify_attestation(evidence.document, _expected())
    if tuple(claim.name for claim in verification.claims) != CLAIMS:
        raise BrokenPropertyError("not one verdict for each claim")
    if evidence.valid is not None and verification.valid is not evidence.valid:
        what = "an honest document was refused" if evidence.valid else "what is not written plainly was accepted"
        raise BrokenPropertyError(f"{what}: {verification.claims}")
    proved = {claim.name for claim in verification.claims if claim.verdict is Verdict.PASS}
    if {"chain", "signature"} <= proved:
        _check_signed(evidence.document)


def _check_signed(document: bytes) -> None:
    """A document with a valid signature is byte for byte what the enclave's key signs, in the canonical encoding."""
    protected, unprotected, payload, _ = cbor2.loads(_raw(document).removeprefix(b"\xd2"))
    if (protected, unprotected) != (PROTECTED_ES384, {}):
        raise BrokenPropertyError("signed with another algorithm, or carrying more than was signed")
    resigned = _enclave().sign_payload(payload)
    if resigned != _raw(document).removeprefix(b"\xd2"):
        raise BrokenPropertyError("a signature passed that the enclave's key did not make")


class _StubNsm(Nsm):
    """A security module with a constant response."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(Path())
        self._response = answer

    def _exchange(self, message: bytes) -> bytes:
        return self._response


def _make_answer(random: Random) -> bytes:
    document = cbor2.loads(_enclave().sign(_fields()))
    if random.random() < 0.5:
        document[2] = mutate_cbor(random, _fields(), random.randrange(3))
    document = cbor2.dumps(document) if random.random() < 0.5 else mutate_cbor(random, document, 1)
    answer = mutate_cbor(random, {"Attestation": {"document": document}}, random.choice((0, 0, 1, 2)))
    return mutate_bytes(random, answer, random.randint(1, 3)) if random.random() < 0.2 else answer


def _check_answer(answer: bytes) -> None:
    with patch("gateway.nsm.secrets.token_bytes", return_value=_NONCE), suppress(NsmError):
        _StubNsm(answer).time()


ATTESTATION_DOCUMENTS = Target("attestation-documents", _make_document, _check_document)
NSM_ANSWERS = Target("nsm-answers", _make_answer, _check_answer)
