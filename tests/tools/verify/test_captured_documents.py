"""Real attestation documents: each gets the verdict stated in its README, and every altered byte is detected."""

import base64
import json
import random
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import cbor2
import pytest

from tools.verify.__main__ import main
from tools.verify.attestation.binding import read_binding
from tools.verify.attestation.document import Document, parse
from tools.verify.attestation.measurements import Measurements
from tools.verify.attestation.policy import CLAIMS, Expectations, verify_attestation
from tools.verify.claims import Verdict

DOCUMENTS = Path(__file__).parents[4] / "shared" / "attestation-docs"

pytestmark = pytest.mark.skipif(not DOCUMENTS.is_dir(), reason="captured documents (../shared) are not on this machine")

OG, OLD_FORM, DEBUG = "01-og-nitriding-2026-02", "12-evervault-pcr8-2022-10", "05-dstack-debug-2025-12"
VALID = (OG, "02-base-2026-01", "03-dstack-2025-12", "08-nautilus-twitter-2025-04", OLD_FORM)
UNTRUSTED, MALFORMED = "90-selfrooted-marlin-custom", "92-corrupt-base-missing-3-bytes"
OTHER_IMAGE = Measurements((b"\x01" * 48, b"\x02" * 48, b"\x03" * 48))
AT_DOCUMENT = Expectations(now=None)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def read(name: str) -> bytes:
    return (DOCUMENTS / f"{name}.cbor").read_bytes()


def failing(data: bytes, expected: Expectations = AT_DOCUMENT) -> set[str]:
    claims = verify_attestation(data, expected).claims
    assert [claim.name for claim in claims] == list(CLAIMS)
    return {claim.name for claim in claims if claim.verdict is Verdict.FAIL}


def detail(data: bytes, claim: str, expected: Expectations = AT_DOCUMENT) -> str:
    return next(found.detail for found in verify_attestation(data, expected).claims if found.name == claim)


@pytest.mark.parametrize("name", VALID)
def test_valid_when_made_expired_now_and_not_another_image(name: str) -> None:
    document = read(name)
    assert failing(document) == set()
    assert failing(document, Expectations(now=NOW)) == {"time"}
    assert re.search("not fresh: i-.* expired", detail(document, "time", Expectations(now=NOW)))
    assert failing(document, Expectations(now=None, measurements=OTHER_IMAGE)) == {"pcrs"}


@pytest.mark.parametrize("name", VALID)
def test_own_measurements_and_own_nonce_pass(name: str) -> None:
    document = parse(read(name))
    own = Measurements((document.pcrs[0], document.pcrs[1], document.pcrs[2]))
    expected = Expectations(now=document.timestamp, measurements=own, nonce=document.nonce)
    assert failing(read(name), expected) == set()
    assert failing(read(name), Expectations(now=None, nonce=b"\x00" * 20)) == {"nonce"}


def test_debug_mode_is_refused_before_pcrs_are_compared() -> None:
    assert failing(read(DEBUG)) == {"debug"}
    assert failing(read(DEBUG), Expectations(now=None, measurements=OTHER_IMAGE)) == {"debug"}
    assert detail(read(DEBUG), "pcrs", Expectations(now=None, measurements=OTHER_IMAGE)) == "not compared: debug mode"
    assert failing(read(DEBUG), Expectations(now=None, allow_debug=True)) == set()
    assert failing(read(DEBUG), Expectations(now=None, allow_debug=True, measurements=OTHER_IMAGE)) == {"pcrs"}


@pytest.mark.parametrize("expected", [AT_DOCUMENT, Expectations(now=NOW, measurements=OTHER_IMAGE)])
def test_a_self_made_root_is_untrusted(expected: Expectations) -> None:
    assert "chain" in failing(read(UNTRUSTED), expected)
    assert detail(read(UNTRUSTED), "chain", expected).startswith("untrusted root")
    assert "signature" not in failing(read(UNTRUSTED), expected)


@pytest.mark.parametrize("expected", [AT_DOCUMENT, Expectations(now=NOW, measurements=OTHER_IMAGE)])
def test_a_corrupt_document_is_malformed(expected: Expectations) -> None:
    assert failing(read(MALFORMED), expected) == {"format"}
    assert detail(read(MALFORMED), "format").startswith("malformed")


def test_the_nitriding_document_binds_a_certificate_and_a_key() -> None:
    binding = read_binding(parse(read(OG)).user_data)
    assert binding is not None
    assert binding.tls_certificate_hash.hex() == "b735546536e78ee12beea2d384fcda35f7491446c6858f79fa7ad5e4ae89b49f"
    assert binding.app_key_hash.hex() == "abf9d7453422eb419fc1391604b070a81bd6a61f4d9ae0ee71ab24d77670c154"
    assert binding.user_data() == parse(read(OG)).user_data


def test_a_clock_that_is_behind_takes_a_leaf_of_the_same_moment() -> None:
    document = parse(read(OG))
    assert (
        failing(read(OG), Expectations(now=document.timestamp - timedelta(seconds=30), nonce=document.nonce)) == set()
    )


@pytest.mark.parametrize(
    ("offset", "reason"),
    [
        (timedelta(hours=4), "expired"),
        (-timedelta(days=1), "made 86400 s in the future"),
        (timedelta(minutes=6), "made 360 s ago"),
    ],
)
def test_another_moment_is_not_fresh(offset: timedelta, reason: str) -> None:
    moment = parse(read(OG)).timestamp + offset
    expected = Expectations(now=moment, max_age=timedelta(minutes=5))
    assert failing(read(OG), expected) == {"time"}
    assert reason in detail(read(OG), "time", expected)


def edit_payload(data: bytes, edit: Callable[[dict[str, object]], object]) -> bytes:
    """The document with changed fields under the old signature."""
    array = cbor2.loads(data)
    fields = cbor2.loads(array[2])
    edit(fields)
    array[2] = b"\xbf" + cbor2.dumps(fields)[1:] + b"\xff"
    return cbor2.dumps(array)


def reorder(fields: dict[str, object]) -> None:
    bundle = fields["cabundle"]
    assert isinstance(bundle, list)
    bundle[1], bundle[2] = bundle[2], bundle[1]


def drop(position: int) -> Callable[[dict[str, object]], object]:
    def edit(fields: dict[str, object]) -> None:
        bundle = fields["cabundle"]
        assert isinstance(bundle, list)
        del bundle[position]

    return edit


@pytest.mark.parametrize("edit", [reorder, *(drop(position) for position in range(4))])
def test_a_bundle_dropped_or_reordered_is_untrusted(edit: Callable[[dict[str, object]], object]) -> None:
    assert failing(edit_payload(read(OG), edit)) >= {"chain", "signature"}


def test_the_payload_re_encoded_as_a_definite_map_is_forged() -> None:
    array = cbor2.loads(read(OG))
    array[2] = cbor2.dumps(cbor2.loads(array[2]))
    assert failing(cbor2.dumps(array)) == {"signature"}


def test_an_old_document_re_encoded_as_an_indefinite_map_is_forged() -> None:
    assert failing(edit_payload(read(OLD_FORM), lambda fields: None)) == {"signature"}


@pytest.mark.parametrize("name", VALID)
def test_truncated_or_extended_documents_are_malformed(name: str) -> None:
    document = read(name)
    for touched in (document[:-1], document[1:], document + b"\x00", document[:100], b"", document[:1]):
        assert failing(touched) == {"format"}


MASKS = (0x01, 0x80, 0xFF)


def accepted_flips(document: bytes, flips: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The flips, each a position and a mask, that still give a valid document."""
    accepted = []
    for position, mask in flips:
        touched = bytearray(document)
        touched[position] ^= mask
        if verify_attestation(bytes(touched), AT_DOCUMENT).valid:
            accepted.append((position, mask))
    return accepted


@pytest.mark.parametrize("name", VALID)
def test_a_flipped_byte_is_refused_anywhere(name: str) -> None:
    """A sample of the positions, and both ends, each with one mask."""
    document, chooser = read(name), random.Random(name)
    edges = [*range(12), *range(len(document) - 100, len(document))]
    positions = {*chooser.sample(range(len(document)), 150), *edges}
    assert accepted_flips(document, [(position, chooser.choice(MASKS)) for position in sorted(positions)]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", VALID)
def test_every_flipped_byte_is_refused(name: str) -> None:
    document = read(name)
    assert accepted_flips(document, product(range(len(document)), MASKS)) == []


def test_base64_with_newlines_is_the_same_document() -> None:
    """One at the end as nitriding sends it, or one after every 76 characters as the command base64 writes them."""
    for text in (base64.b64encode(read(OG)) + b"\n", base64.encodebytes(read(OG)).replace(b"\n", b"\r\n")):
        assert verify_attestation(text, AT_DOCUMENT) == verify_attestation(read(OG), AT_DOCUMENT)


def test_a_tagged_document_is_the_same_document() -> None:
    assert failing(b"\xd2" + read(OG)) == set()
    assert failing(b"\xd2\xd2" + read(OG)) == {"format"}


def test_the_command_prints_a_line_per_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document: Document = parse(read(OG))
    pcrs = {f"PCR{index}": document.pcrs[index].hex() for index in range(3)}
    measurements = tmp_path / "measurements.txt"
    measurements.write_text(json.dumps({"Measurements": {"HashAlgorithm": "SHA384", **pcrs}, "recipe": {}}))
    arguments = ["attestation", "--document", str(DOCUMENTS / f"{OG}.cbor"), "--measurements", str(measurements)]
    arguments += ["--nonce", "0123456789abcdef" * 2 + "01234567"]
    assert main([*arguments, "--at", "document"]) == 0
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert lines[:9] == [
        *(["PASS", name] for name in CLAIMS[:7]),
        ["SKIP", "tls_cert"],
        ["SKIP", "key_hash"],
    ]
    assert main(arguments) == 1
    assert "FAIL time" in capsys.readouterr().out
