"""The commands ``attestation --url`` and ``answer`` against a gateway's public side over TLS."""

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from eth_hash.auto import keccak

from tests.certificates import self_signed
from tests.tools.verify.threaded_server import serving
from tools.verify.__main__ import main
from tools.verify.attestation.policy import CLAIMS
from tools.verify.double import DEFAULT_PCRS, AttestationDouble
from tools.verify.signing_key import load_signing_key

Json = Any
Write = Callable[[str, Any], str]
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CANONICAL = '{"messages": [{"content": "hi", "role": "user"}], "model": "m", "temperature": 0.0}'


@dataclass
class Front:
    """nitriding with the application behind it; its attributes inject faults."""

    enclave: AttestationDouble
    signer: Any
    certificate: bytes
    url: str = ""
    attestation_status: int = 200
    key_status: int = 200
    key: bytes | None = None
    nonces: list[bytes] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)

    def answer(self, path: str, _body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(path)
        if parts.path == "/signing-key":
            document = {"public_key": self.signer.pem.decode(), "tee_id": self.signer.tee_id, "wallet_address": "0x00"}
            return self.key_status, json.dumps(document).encode() if self.key is None else self.key
        if parts.path != "/enclave/attestation":
            return 404, b""
        nonce = bytes.fromhex(parse_qs(parts.query)["nonce"][0])
        self.nonces.append(nonce)
        stated: dict[str, Any] = {
            "tls_certificate": self.certificate,
            "app_key_hash": load_signing_key(self.signer.pem).key_hash,
            "nonce": nonce,
            "made": datetime.now(UTC),
        }
        return self.attestation_status, base64.b64encode(self.enclave.document(**(stated | self.overrides))) + b"\n"


@pytest.fixture
def front(answer_signer: Any, tmp_path: Path) -> Iterator[Front]:
    pem, certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    front = Front(AttestationDouble(), answer_signer, certificate)

    with serving(front.answer, context) as front.url:
        yield front


@pytest.fixture
def options(front: Front, write: Write) -> list[str]:
    pcrs = {f"PCR{index}": DEFAULT_PCRS[index].hex() for index in range(3)}
    measurements = {"Measurements": {"HashAlgorithm": "Sha384 { ... }", **pcrs}, "recipe": {}}
    root = front.enclave.root.public_bytes(Encoding.PEM)
    return [
        *("--url", front.url, "--root", write("root.pem", root)),
        *("--measurements", write("measurements.txt", measurements)),
    ]


@pytest.fixture
def exchange(answer_signer: Any, write: Write) -> list[str]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "ho"}, "finish_reason": "stop"}
    answer = {"choices": [choice], **answer_signer.envelope(CANONICAL, "ho")}
    return ["--request", write("request.json", REQUEST), "--response", write("response.json", answer)]


def report(capsys: pytest.CaptureFixture[str]) -> Json:
    return json.loads(capsys.readouterr().out)


def failing(report: Json) -> set[str]:
    return {claim["claim"] for claim in report["claims"] if claim["verdict"] == "FAIL"}


def test_an_honest_gateway_passes_every_claim_with_a_fresh_nonce(
    front: Front, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["attestation", *options]) == 0
        out = capsys.readouterr().out.splitlines()
        assert [line.split()[:2] for line in out[:9]] == [["PASS", name] for name in CLAIMS]
        assert "TEST ROOT" in out[-1]
    assert len({*front.nonces}) == 2
    assert {len(nonce) for nonce in front.nonces} == {20}


def test_without_the_test_root_nothing_is_trusted(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    del options[2:4]
    assert main(["attestation", "--json", *options]) == 1
    assert failing(report(capsys)) == {"chain"}


def test_the_given_nonce_is_sent_and_checked(
    front: Front, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attestation", *options, "--nonce", "0x" + "ab" * 20]) == 0
    assert front.nonces == [b"\xab" * 20]
    capsys.readouterr()
    front.overrides = {"nonce": b"\x00" * 20}
    assert main(["attestation", "--json", *options]) == 1
    assert failing(report(capsys)) == {"nonce"}
    assert main(["attestation", *options, "--nonce", "ab" * 19]) == 2
    assert "20 bytes" in capsys.readouterr().err


LIES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "another TLS certificate": ({"tls_certificate": b"other"}, {"tls_cert"}),
    "another key": ({"app_key_hash": b"k" * 32}, {"key_hash"}),
    "no key registered": ({"app_key_hash": bytes(32)}, {"key_hash"}),
    "debug mode": ({"pcrs": {}}, {"debug"}),
    "another image": ({"pcrs": {**DEFAULT_PCRS, 2: b"\x01" * 48}}, {"pcrs"}),
    "stale": ({"made": datetime.now(UTC) - timedelta(minutes=6)}, {"time"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_named(
    lie: str, front: Front, options: list[str], exchange: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    front.overrides, claims = LIES[lie]
    if lie == "stale":
        front.enclave = AttestationDouble(datetime.now(UTC) - timedelta(minutes=10))
        Path(options[3]).write_bytes(front.enclave.root.public_bytes(Encoding.PEM))
    assert main(["attestation", "--json", *options]) == 1
    assert failing(report(capsys)) == claims
    assert main(["answer", "--json", *options, *exchange]) == 1
    assert failing(report(capsys)) >= {f"attestation.{claim}" for claim in claims}


def test_a_pinned_certificate_and_key_from_files(
    front: Front, options: list[str], write: Write, other_answer_signer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    key, certificate = write("key.pem", front.signer.pem), write("cert.der", front.certificate)
    assert main(["attestation", *options, "--key", key, "--cert", certificate]) == 0
    capsys.readouterr()
    assert main(["attestation", "--json", *options, "--key", write("other.pem", other_answer_signer.pem)]) == 1
    assert failing(report(capsys)) == {"key_hash"}
    other = write("other-cert.pem", front.enclave.root.public_bytes(Encoding.PEM))
    assert main(["attestation", "--json", *options, "--cert", other]) == 1
    assert failing(report(capsys)) == {"tls_cert"}
    assert main(["attestation", *options, "--cert", key]) == 2
    assert f"the certificate {key} is neither PEM nor DER" in capsys.readouterr().err


def test_no_document_exits_3(front: Front, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    front.attestation_status = 500
    assert main(["attestation", *options]) == 3
    assert "returned 500" in capsys.readouterr().err


def test_without_a_served_key_the_claim_is_skipped_and_an_answer_cannot_be_judged(
    front: Front, options: list[str], exchange: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    front.key_status = 502
    assert main(["attestation", *options]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in out if line.startswith("SKIP")] == [["SKIP", "key_hash"]]
    assert "valid (not checked: key_hash)" in out
    assert main(["answer", *options, *exchange]) == 2
    assert "returned 502" in capsys.readouterr().err


def test_what_is_served_in_the_keys_place_is_named(
    front: Front, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    front.key = b"key"
    assert main(["attestation", *options]) == 0
    out = capsys.readouterr().out
    assert "SKIP key_hash" in out
    assert "note: no signing key to compare: the response of /signing-key is not a PEM public key" in out


def test_over_http_there_is_no_certificate_to_compare(
    front: Front, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(front.answer) as url:
        assert main(["attestation", "--url", url, *options[2:]]) == 0
    assert "SKIP tls_cert no TLS certificate to compare" in capsys.readouterr().out


@pytest.mark.parametrize(("age", "live", "saved"), [(280, 0, 0), (301, 1, 0), (10_780, 1, 0)])
def test_how_old_a_document_may_be_by_default(
    age: int, live: int, saved: int, front: Front, options: list[str], write: Write
) -> None:
    """Five minutes where it was just fetched, three hours in a file."""
    made = datetime.now(UTC) - timedelta(seconds=age)
    front.enclave, front.overrides = AttestationDouble(made), {"made": made}
    Path(options[3]).write_bytes(front.enclave.root.public_bytes(Encoding.PEM))
    assert main(["attestation", *options]) == live
    document = write("document.cbor", front.enclave.document(app_key_hash=b"k" * 32))
    assert main(["attestation", "--document", document, *options[2:]]) == saved


def test_from_url_to_this_answer_came_from_this_code(
    options: list[str], exchange: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["answer", *options, *exchange]) == 0
    out = capsys.readouterr().out
    assert out.count("PASS attestation.") == len(CLAIMS)
    assert out.count("PASS response.") == 4
    assert "valid: this answer came from this code" in out
    assert "not covered by the signature:" in out


def test_an_answer_of_another_key_is_refused(
    options: list[str], exchange: list[str], other_answer_signer: Any, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "ho"}, "finish_reason": "stop"}
    foreign = write("foreign.json", {"choices": [choice], **other_answer_signer.envelope(CANONICAL, "ho")})
    assert main(["answer", "--json", *options, *exchange[:3], foreign]) == 1
    assert failing(report(capsys)) == {"response.tee_id", "response.signature"}


def test_an_answer_needs_measurements(
    options: list[str], exchange: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["answer", *options[:4], *exchange]) == 2
    assert "--measurements is required" in capsys.readouterr().err


def test_an_archived_answer(
    front: Front, options: list[str], exchange: list[str], write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verified months later from the saved document and key, valid at the time of signing."""
    made = datetime.now(UTC) - timedelta(days=100)
    front.enclave = AttestationDouble(made)
    Path(options[3]).write_bytes(front.enclave.root.public_bytes(Encoding.PEM))
    key = write("key.pem", front.signer.pem)
    document = front.enclave.document(app_key_hash=load_signing_key(front.signer.pem).key_hash)
    saved = ["--document", write("document.cbor", document), "--key", key, *options[2:]]
    assert main(["answer", *saved, *exchange, "--at", "document"]) == 0
    capsys.readouterr()
    assert main(["answer", "--json", *saved, *exchange]) == 1
    assert failing(report(capsys)) == {"attestation.time"}


def measured(**changes: Any) -> Json:
    """Measurements of a whole image; a register given as ``...`` is omitted."""
    pcrs = {"PCR0": "11" * 48, "PCR1": "22" * 48, "PCR2": "33" * 48} | changes
    stated = {name: value for name, value in pcrs.items() if value is not ...}
    return {"Measurements": {"HashAlgorithm": "SHA384", **stated}, "recipe": {}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "without a Measurements object"),
        ({"Measurements": {"HashAlgorithm": "SHA256"}}, "other than SHA384"),
        (measured(PCR0="00" * 48), "all-zero PCR0"),
        ({"Measurements": {"HashAlgorithm": "Sha512_32 { .. }"}}, "other than SHA384"),
        ({"Measurements": {"HashAlgorithm": "SHA3840"}}, "other than SHA384"),
        ({"Measurements": {"HashAlgorithm": 384}}, "other than SHA384"),
        (measured(PCR1="zz" * 48), "not hex"),
        (measured(PCR1="11 " * 32), "not hex"),
        (measured(PCR0="11" * 47), "without a PCR0 of 96 hex digits"),
        (measured(PCR2=None), "without a PCR2 of 96 hex digits"),
        (
            measured(PCR1=...),
            "incomplete, without PCR1: where nitriding and the kernel can be built, `make kernel` and",
        ),
        (measured(PCR0=..., PCR2=...), "incomplete, without PCR0, PCR2: "),
        (measured(PCR0=..., PCR1=..., PCR2=...), "`python -m nitro.measurements --write` complete it"),
    ],
)
def test_unusable_measurements_exit_2(
    content: Any, message: str, options: list[str], write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write("measurements.txt", content)
    for command in (["attestation", *options], ["measurements", path]):
        assert main(command) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "algorithm",
    ["SHA384", "SHA-384", "Sha384 { ... }", pytest.param("Sha512_48 { .. }", id="AWS's image format since 0.8")],
)
def test_every_spelling_of_sha384(algorithm: str, write: Write) -> None:
    content = measured(HashAlgorithm=algorithm, PCR0="aB" * 47 + "00", PCR8="44" * 48)
    assert main(["measurements", write("measurements.txt", content)]) == 0


def test_measurements_of_a_whole_image(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measurements", write("measurements.txt", measured())]) == 0
    digest = keccak(b"".join(bytes.fromhex(f"{index}{index}") * 48 for index in range(1, 4))).hex()
    assert capsys.readouterr().out.splitlines() == [
        *(f"PASS PCR{index} {f'{index + 1}' * 96}" for index in range(3)),
        "valid",
        f"note: the registry's PCR hash is 0x{digest}",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonce", "xyz"],
        ["--nonce", ""],
        ["--nonce", "ab" * 513],
        ["--at", "tomorrow"],
        ["--max-age", "old"],
        ["--max-age", "-1"],
        ["--max-age", "inf"],
        ["--max-age", "1e300"],
        ["--document", "d", "--url", "https://localhost"],
    ],
)
def test_bad_options_exit_2(arguments: list[str], options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["attestation", *options, *arguments])
    assert caught.value.code == 2
    assert f"argument {arguments[-2]}" in (said := capsys.readouterr().err)
    assert " _" not in said


def test_neither_a_url_nor_a_document_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["attestation"])
    assert caught.value.code == 2
    assert "one of the arguments --url --document is required" in capsys.readouterr().err


def test_an_age_of_nothing_is_not_the_default(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attestation", *options, "--max-age", "0"]) == 1
    assert "FAIL time not fresh" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["", "localhost", "ftp://localhost", "https://", "https://host:port"])
def test_what_is_no_url_exits_2(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attestation", "--url", url]) == 2
    assert "not a" in capsys.readouterr().err
