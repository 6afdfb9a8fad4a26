"""The attestation policy, driven by the double: a valid document passes, and each fault fails only its own claim."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from tools.verify.attestation.measurements import Measurements
from tools.verify.attestation.policy import CLAIMS, Expectations, verify_attestation
from tools.verify.attestation.root import AWS_ROOT_SHA256, aws_root, fingerprint
from tools.verify.claims import Verdict
from tools.verify.double import (
    DEFAULT_PCRS,
    PROFILES,
    AttestationDouble,
    CertificateProfile,
    encode_pairs,
    encode_payload,
    with_profile,
)
from tools.verify.signing_key import SigningKey, load_signing_key

MADE = datetime(2026, 11, 1, 12, tzinfo=UTC)
NONCE = b"n" * 20
CERTIFICATE = b"leaf certificate DER"
MEASUREMENTS = Measurements((DEFAULT_PCRS[0], DEFAULT_PCRS[1], DEFAULT_PCRS[2]))
ENCLAVE = AttestationDouble(MADE)
HONEST = ENCLAVE.document(tls_certificate=CERTIFICATE, app_key_hash=b"k" * 32, nonce=NONCE)


@pytest.fixture(scope="module")
def key(answer_signer: Any) -> SigningKey:
    return load_signing_key(answer_signer.pem)


def expectations(key: SigningKey | None, **changes: Any) -> Expectations:
    known: dict[str, Any] = {
        "now": MADE + timedelta(seconds=10),
        "measurements": MEASUREMENTS,
        "nonce": NONCE,
        "tls_certificates": (CERTIFICATE,),
        "key": key,
        "root": ENCLAVE.root,
    }
    return Expectations(**(known | changes))


def fields(key: SigningKey, **changes: Any) -> dict[str, Any]:
    stated = ENCLAVE.fields(tls_certificate=CERTIFICATE, app_key_hash=key.key_hash, nonce=NONCE)
    return {name: value for name, value in (stated | changes).items() if value is not ...}


def failing(data: bytes, expected: Expectations) -> set[str]:
    claims = verify_attestation(data, expected).claims
    assert tuple(claim.name for claim in claims) == CLAIMS
    return {claim.name for claim in claims if claim.verdict is Verdict.FAIL}


def skipped(data: bytes, expected: Expectations) -> set[str]:
    return {claim.name for claim in verify_attestation(data, expected).claims if claim.verdict is Verdict.SKIP}


def test_the_shipped_root_is_aws_root_g1() -> None:
    root = aws_root()
    assert fingerprint(root) == AWS_ROOT_SHA256
    assert format(root.serial_number, "x") == "f93175681b90afe11d46ccb4e4e7f856"


def test_an_honest_document_passes_every_claim(key: SigningKey) -> None:
    claims = verify_attestation(ENCLAVE.sign(fields(key)), expectations(key)).claims
    assert [(claim.name, claim.verdict) for claim in claims] == [(name, Verdict.PASS) for name in CLAIMS]


def test_claims_without_input_are_skipped(key: SigningKey) -> None:
    bare = Expectations(now=None, root=ENCLAVE.root)
    assert skipped(ENCLAVE.sign(fields(key)), bare) == {"pcrs", "nonce", "tls_cert", "key_hash"}


def test_the_double_is_not_trusted_without_its_root(key: SigningKey) -> None:
    assert failing(ENCLAVE.sign(fields(key)), expectations(key, root=aws_root())) == {"chain"}


def test_a_root_of_the_same_name_is_another_root(key: SigningKey) -> None:
    assert failing(AttestationDouble(MADE).sign(fields(key)), expectations(key)) >= {"signature"}
    impostor = AttestationDouble(MADE)
    document = impostor.document(tls_certificate=CERTIFICATE, app_key_hash=key.key_hash, nonce=NONCE)
    assert failing(document, expectations(key)) == {"chain"}


def test_the_pinned_root_put_on_top_of_another_path_is_untrusted(key: SigningKey) -> None:
    impostor = AttestationDouble(MADE)
    honest = impostor.fields(tls_certificate=CERTIFICATE, app_key_hash=key.key_hash, nonce=NONCE)
    honest["cabundle"][0] = ENCLAVE.cabundle[0]
    assert failing(impostor.sign(honest), expectations(key)) == {"chain"}
    honest["cabundle"].insert(1, impostor.cabundle[0])
    assert failing(impostor.sign(honest), expectations(key)) == {"chain"}


PATH_FAULTS: dict[str, dict[str, CertificateProfile]] = {
    "regional is not an authority": with_profile("regional", ca=False, path_length=None),
    "instance is not an authority": with_profile("instance", ca=False, path_length=None),
    "regional may not sign certificates": with_profile("regional", key_cert_sign=False),
    "regional allows no authority below": with_profile("regional", path_length=1),
    "zonal allows no authority below": with_profile("zonal", path_length=0),
    "leaf is an authority": with_profile("leaf", ca=True),
    "leaf may not sign documents": with_profile("leaf", digital_signature=False),
    "zonal key on another curve": with_profile("zonal", curve=ec.SECP256R1),
    "zonal signed over SHA-256": with_profile("zonal", digest=SHA256),
    "leaf signed over SHA-256": with_profile("leaf", digest=SHA256),
    "unknown critical extension": with_profile("zonal", critical_extension=True),
    "unknown critical extension in the leaf": with_profile("leaf", critical_extension=True),
    "names do not chain": with_profile("leaf", issuer_name="somebody else"),
    "signed by another key of the right name": with_profile(
        "leaf", self_signed=True, issuer_name=PROFILES["instance"].name
    ),
}


@pytest.mark.parametrize("fault", PATH_FAULTS)
def test_a_certificate_that_may_not_stand_there_breaks_the_chain(fault: str, key: SigningKey) -> None:
    enclave = AttestationDouble(MADE, PATH_FAULTS[fault])
    document = enclave.document(tls_certificate=CERTIFICATE, app_key_hash=key.key_hash, nonce=NONCE)
    assert failing(document, expectations(key, root=enclave.root)) == {"chain"}


def test_a_leaf_key_that_is_not_p384_breaks_chain_and_signature(key: SigningKey) -> None:
    enclave = AttestationDouble(MADE, with_profile("leaf", curve=ec.SECP256R1))
    document = enclave.document(tls_certificate=CERTIFICATE, app_key_hash=key.key_hash, nonce=NONCE)
    assert failing(document, expectations(key, root=enclave.root)) == {"chain", "signature"}


@pytest.mark.parametrize("name", PROFILES)
def test_every_certificate_must_be_valid_when_made_and_now(name: str, key: SigningKey) -> None:
    for change in (
        {"lifetime": timedelta(seconds=-1), "not_before": timedelta(hours=-1)},
        {"not_before": timedelta(seconds=1)},
    ):
        enclave = AttestationDouble(MADE, with_profile(name, **change))
        document = enclave.document(tls_certificate=CERTIFICATE, app_key_hash=key.key_hash, nonce=NONCE)
        for now in (None, MADE + timedelta(seconds=10)):
            assert failing(document, expectations(key, root=enclave.root, now=now)) == {"time"}
    short = AttestationDouble(MADE, with_profile(name, lifetime=timedelta(seconds=5)))
    document = short.document(tls_certificate=CERTIFICATE, app_key_hash=key.key_hash, nonce=NONCE)
    assert failing(document, expectations(key, root=short.root)) == {"time"}
    assert failing(document, expectations(key, root=short.root, now=None)) == set()


@pytest.mark.parametrize(
    ("age", "max_age", "fails"),
    [
        (0, 300, False),
        (300, 300, False),
        (301, 300, True),
        (10_800, 10_800, False),
        (10_804, 99_999, True),
        (-60, 300, False),
        (-61, 300, True),
    ],
)
def test_freshness(age: int, max_age: int, fails: bool, key: SigningKey) -> None:
    """The leaf is as old as AWS's, three seconds, when it signs a document."""
    enclave = AttestationDouble(MADE, with_profile("leaf", not_before=timedelta(seconds=-3)))
    document = enclave.document(tls_certificate=CERTIFICATE, app_key_hash=key.key_hash, nonce=NONCE)
    now, oldest = MADE + timedelta(seconds=age), timedelta(seconds=max_age)
    assert failing(document, expectations(key, root=enclave.root, now=now, max_age=oldest)) == (
        {"time"} if fails else set()
    )


FIELD_FAULTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "stale document": ({"timestamp": round(MADE.timestamp() * 1000) - 1000 * 3600}, {"time"}),
    "other nonce": ({"nonce": b"m" * 20}, {"nonce"}),
    "shorter nonce": ({"nonce": NONCE[:19]}, {"nonce"}),
    "null nonce": ({"nonce": None}, {"nonce"}),
    "absent nonce": ({"nonce": ...}, {"nonce"}),
    "null user_data": ({"user_data": None}, {"tls_cert", "key_hash"}),
    "empty user_data": ({"user_data": b""}, {"tls_cert", "key_hash"}),
    "PCR0 differs": ({"pcrs": {**DEFAULT_PCRS, 0: b"\xff" * 48}}, {"pcrs"}),
    "PCR1 differs": ({"pcrs": {**DEFAULT_PCRS, 1: b"\xff" * 48}}, {"pcrs"}),
    "PCR2 differs": ({"pcrs": {**DEFAULT_PCRS, 2: b"\xff" * 48}}, {"pcrs"}),
    "PCR2 is a prefix": ({"pcrs": {**DEFAULT_PCRS, 2: DEFAULT_PCRS[2][:32]}}, {"pcrs"}),
    "debug mode": ({"pcrs": dict.fromkeys(range(16), bytes(48))}, {"debug"}),
    "only PCR0 is zero": ({"pcrs": {**DEFAULT_PCRS, 0: bytes(48)}}, {"debug"}),
    "PCR1 is absent": ({"pcrs": {0: DEFAULT_PCRS[0], 2: DEFAULT_PCRS[2]}}, {"debug"}),
    "unreadable certificate": ({"certificate": b"x"}, {"chain"}),
    "unreadable certificate of 1024 bytes": ({"certificate": b"x" * 1024}, {"chain"}),
    "unreadable bundle": ({"cabundle": [b"x"]}, {"chain"}),
    "unreadable bundle of 1024 bytes": ({"cabundle": [b"x" * 1024]}, {"chain"}),
    "null and empty are both absent": ({"public_key": None}, set()),
    "an unknown field": ({"future": 1}, set()),
    "longest fields": (
        {"public_key": bytes(1024), "user_data": bytes(512), "nonce": bytes(512)},
        {"nonce", "tls_cert", "key_hash"},
    ),
    "shortest public_key": ({"public_key": b"k"}, set()),
    "all registers": ({"pcrs": {**dict.fromkeys(range(32), b"\x01" * 64), **DEFAULT_PCRS}}, set()),
}


@pytest.mark.parametrize("fault", FIELD_FAULTS)
def test_a_signed_field_that_is_not_as_expected(fault: str, key: SigningKey) -> None:
    changes, claims = FIELD_FAULTS[fault]
    assert failing(ENCLAVE.sign(fields(key, **changes)), expectations(key)) == claims


MALFORMED_FIELDS: dict[str, dict[str, Any]] = {
    "no module_id": {"module_id": ...},
    "empty module_id": {"module_id": ""},
    "module_id as bytes": {"module_id": b"i-1"},
    "other digest": {"digest": "SHA256"},
    "no digest": {"digest": None},
    "timestamp zero": {"timestamp": 0},
    "timestamp negative": {"timestamp": -1},
    "timestamp true": {"timestamp": True},
    "timestamp as text": {"timestamp": "1"},
    "timestamp beyond all calendars": {"timestamp": (1 << 64) - 1},
    "no pcrs": {"pcrs": None},
    "empty pcrs": {"pcrs": {}},
    "33 pcrs": {"pcrs": dict.fromkeys(range(33), b"\x01" * 48)},
    "PCR32": {"pcrs": {32: b"\x01" * 48}},
    "PCR-1": {"pcrs": {-1: b"\x01" * 48}},
    "PCR true": {"pcrs": {True: b"\x01" * 48}},
    "PCR named by text": {"pcrs": {"0": b"\x01" * 48}},
    "PCR of 47 bytes": {"pcrs": {0: b"\x01" * 47}},
    "PCR as text": {"pcrs": {0: "1" * 48}},
    "pcrs as list": {"pcrs": [b"\x01" * 48]},
    "no certificate": {"certificate": None},
    "empty certificate": {"certificate": b""},
    "certificate of 1025 bytes": {"certificate": b"\x30" * 1025},
    "no cabundle": {"cabundle": None},
    "empty cabundle": {"cabundle": []},
    "cabundle as map": {"cabundle": dict.fromkeys(ENCLAVE.cabundle, 0)},
    "cabundle of text": {"cabundle": ["x"]},
    "empty cabundle entry": {"cabundle": [*ENCLAVE.cabundle, b""]},
    "cabundle entry of 1025 bytes": {"cabundle": [b"\x30" * 1025]},
    "empty public_key": {"public_key": b""},
    "public_key of 1025 bytes": {"public_key": bytes(1025)},
    "user_data of 513 bytes": {"user_data": bytes(513)},
    "nonce of 513 bytes": {"nonce": bytes(513)},
    "nonce as text": {"nonce": "n" * 20},
    "over 16 KiB": {"future": bytes(16 * 1024)},
}


@pytest.mark.parametrize("fault", MALFORMED_FIELDS)
def test_a_field_outside_its_type_or_limits_is_malformed(fault: str, key: SigningKey) -> None:
    assert failing(ENCLAVE.sign(fields(key, **MALFORMED_FIELDS[fault])), expectations(key)) == {"format"}


def test_optional_fields_may_be_absent_and_the_map_definite(key: SigningKey) -> None:
    bare = fields(key, public_key=..., user_data=..., nonce=...)
    expected = Expectations(now=None, root=ENCLAVE.root)
    assert failing(ENCLAVE.sign(bare), expected) == set()
    assert failing(ENCLAVE.sign_payload(encode_payload(bare, definite=True)), expected) == set()


def test_a_repeated_field_is_malformed(key: SigningKey) -> None:
    pairs = [*fields(key).items(), ("nonce", NONCE)]
    assert failing(ENCLAVE.sign_payload(encode_pairs(pairs)), expectations(key)) == {"format"}
    assert failing(ENCLAVE.sign_payload(encode_pairs(pairs[:-1])), expectations(key)) == set()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xbf",
        b"\xa0",
        b"\xbf\xff",
        b"\xbf\xff\x00",
        b"\x80",
        b"\x81" * 200,
        b"\xff",
        cbor2.dumps([1]),
        b"\xa1\x18\x01\x01",
    ],
)
def test_a_payload_that_is_no_map_of_fields_is_malformed(payload: bytes, key: SigningKey) -> None:
    assert failing(ENCLAVE.sign_payload(payload), expectations(key)) == {"format"}


def test_padded_lengths_in_the_payload_are_malformed(key: SigningKey) -> None:
    payload = encode_payload(fields(key))
    padded = payload.replace(b"\x66digest", b"\x78\x06digest", 1)
    assert failing(ENCLAVE.sign_payload(padded), expectations(key)) == {"format"}


def clear_signature(array: list[Any]) -> None:
    array[3] = bytes(96)


def shorten_signature(array: list[Any]) -> None:
    array[3] = array[3][:-1]


def swap_halves(array: list[Any]) -> None:
    array[3] = array[3][48:] + array[3][:48]


def other_protected(array: list[Any]) -> None:
    array[0] = bytes.fromhex("a1013823")


def unprotected(array: list[Any]) -> None:
    array[1] = {4: b"kid"}


def fifth(array: list[Any]) -> None:
    array.append(0)


def no_payload(array: list[Any]) -> None:
    array[2] = None


@pytest.mark.parametrize(
    ("edit", "claims"),
    [
        (clear_signature, {"signature"}),
        (swap_halves, {"signature"}),
        (shorten_signature, {"format"}),
        (other_protected, {"format"}),
        (unprotected, {"format"}),
        (fifth, {"format"}),
        (no_payload, {"format"}),
    ],
)
def test_the_cose_structure(edit: Callable[[list[Any]], None], claims: set[str], key: SigningKey) -> None:
    document = ENCLAVE.sign_payload(encode_payload(fields(key)), edit=edit)
    assert failing(document, expectations(key)) == claims


def test_an_unsigned_document_of_an_emulator_is_malformed(key: SigningKey) -> None:
    """QEMU's nitro-enclave machine: protected header {1: -1} and zeros for certificates and signature."""
    payload = encode_payload(fields(key, certificate=bytes(64), cabundle=[bytes(64)]), definite=True)
    unsigned = ENCLAVE.sign_payload(payload, protected=cbor2.dumps({1: -1}), edit=clear_signature)
    assert failing(unsigned, expectations(key)) == {"format"}


def test_another_signers_key_is_forged(key: SigningKey) -> None:
    document = ENCLAVE.sign_payload(encode_payload(fields(key)), key=ec.generate_private_key(ec.SECP384R1()))
    assert failing(document, expectations(key)) == {"signature"}


def test_another_certificate_or_key_is_not_bound(key: SigningKey, other_answer_signer: Any) -> None:
    document = ENCLAVE.sign(fields(key))
    assert failing(document, expectations(key, tls_certificates=(b"other",))) == {"tls_cert"}
    assert failing(document, expectations(key, tls_certificates=(CERTIFICATE, b"other"))) == {"tls_cert"}
    assert failing(document, expectations(load_signing_key(other_answer_signer.pem))) == {"key_hash"}


def test_an_all_zero_key_hash_is_refused_even_without_a_key(key: SigningKey) -> None:
    document = ENCLAVE.document(tls_certificate=CERTIFICATE, nonce=NONCE)
    assert failing(document, expectations(key)) == {"key_hash"}
    assert failing(document, expectations(None)) == {"key_hash"}
    nearly = ENCLAVE.document(tls_certificate=CERTIFICATE, app_key_hash=bytes(31) + b"k", nonce=NONCE)
    assert failing(nearly, expectations(None)) == set()


def test_an_unset_certificate_hash_is_bound_to_nothing(key: SigningKey) -> None:
    document = ENCLAVE.document(app_key_hash=key.key_hash, nonce=NONCE)
    assert failing(document, expectations(key)) == {"tls_cert"}


@given(st.binary(max_size=300))
def test_any_bytes_are_malformed(noise: bytes) -> None:
    expected = Expectations(now=None, root=ENCLAVE.root)
    assert failing(noise, expected) == {"format"}
    assert failing(ENCLAVE.sign_payload(noise), expected) == {"format"}


@given(st.data())
def test_any_touched_stretch_of_an_honest_document_is_refused(data: st.DataObject) -> None:
    document = HONEST
    start = data.draw(st.integers(0, len(document) - 1))
    end = data.draw(st.integers(start, min(len(document), start + 40)))
    patch = data.draw(st.binary(max_size=40).filter(lambda patch: patch != document[start:end]))
    assert failing(document[:start] + patch + document[end:], Expectations(now=None, root=ENCLAVE.root))
