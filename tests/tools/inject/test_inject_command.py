"""``python -m tools.inject`` against gateways in simulated enclaves, with honest and tampering hosts."""

import asyncio
import base64
import io
import json
import re
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.nitriding_double import MEASUREMENTS
from tests.tools.inject.conftest import SECRET, Operator, post
from tools.inject.__main__ import main
from tools.verify.attestation.policy import CLAIMS
from tools.verify.double import DEFAULT_PCRS

ROOT = Path(__file__).parents[3]


def key_of(operator: Operator, provider: str = "openai") -> str | None:
    return operator.link.enclave.services.keyring.key(provider)


async def test_keys_reach_the_enclave_and_nobody_else(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    assert await operator.inject() == 0
    assert (key_of(operator), key_of(operator, "bytedance")) == (SECRET, "ark-secret")
    printed = capsys.readouterr()
    passed = [line.split()[1] for line in printed.out.splitlines() if line.startswith("PASS ")]
    assert passed == [*CLAIMS, "sealing_key", "receipt"]
    assert "injected: bytedance_api_key, openai_api_key" in printed.out
    assert "journal: in the enclave's memory only" in printed.out
    [bundle] = operator.link.bundles
    opened = base64.b64decode(json.loads(bundle)["sealed"])
    for told in (printed.out, printed.err, bundle.decode(), opened.decode("latin-1")):
        assert "secret" not in told


async def test_a_journal_key_reaches_the_enclave(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    path = operator.write("journal.env", f"OPENAI_API_KEY={SECRET}\nJOURNAL_KEY={'5a' * 32}\n")
    assert await operator.inject(env_file=path) == 0
    injected = operator.link.enclave.services.keyring.injected
    assert injected is not None
    assert injected.journal_key == "5a" * 32
    printed = capsys.readouterr().out
    assert "journal: sealed on the host" in printed
    assert "5a5a5a5a" not in printed


async def test_two_gateways_each_get_their_own(operator: Operator, other_operator: Operator) -> None:
    assert await operator.inject() == 0
    [bundle] = operator.link.bundles
    stolen, answer = await post(other_operator.link.enclave.host_url + "/v1/keys", json.loads(bundle))
    assert (stolen, answer["error"]["param"]) == (400, "sealed")
    other_keys = other_operator.write("other.env", "OPENAI_API_KEY=another")
    assert await other_operator.inject(env_file=other_keys) == 0
    assert (key_of(operator), key_of(other_operator)) == (SECRET, "another")


async def test_a_bundle_is_good_for_once(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    assert await operator.inject() == 0
    replayed, _ = await post(operator.link.enclave.host_url + "/v1/keys", json.loads(operator.link.bundles[0]))
    assert replayed == 409
    assert await operator.inject() == 4
    assert "returned 409: The keys have been injected already; unless you injected them" in capsys.readouterr().err


OTHER_MEASUREMENTS = {"Measurements": {**MEASUREMENTS["Measurements"], "PCR1": "bb" * 48}}
ZERO_PCRS = dict.fromkeys(DEFAULT_PCRS, bytes(48))


@dataclass
class Fault:
    """``stated`` overrides the documents' fields; ``measurements`` and ``flags`` are the operator's."""

    claim: str
    stated: dict[str, Any] = field(default_factory=dict)
    measurements: Any = None
    flags: tuple[str, ...] = ()


FAULTS = {
    "another image": Fault("pcrs: mismatch: PCR1", measurements=OTHER_MEASUREMENTS),
    "another image, debug allowed": Fault("pcrs: mismatch", measurements=OTHER_MEASUREMENTS, flags=("--allow-debug",)),
    "each PCR counts": Fault("pcrs: mismatch: PCR2", stated={"pcrs": {**DEFAULT_PCRS, 2: b"\xff" * 48}}),
    "debug mode": Fault("debug: debug mode", stated={"pcrs": ZERO_PCRS}),
    "another certificate": Fault("tls_cert: attested", stated={"tls_certificate": b"another"}),
    "no certificate": Fault("tls_cert: attested", stated={"tls_certificate": b""}),
    "no key registered": Fault("key_hash: all zero", stated={"app_key_hash": bytes(32)}),
    "another key registered": Fault("key_hash: attested", stated={"app_key_hash": b"\x11" * 32}),
    "another nonce": Fault("nonce: mismatch", stated={"nonce": bytes(20)}),
    "no nonce": Fault("nonce: mismatch", stated={"nonce": None}),
    "old": Fault("time: not fresh", stated={"made": datetime.now(UTC) - timedelta(minutes=20)}),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_another_enclave_than_expected_gets_nothing(
    operator: Operator, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = FAULTS[name]
    operator.link.enclave.daemon.stated = fault.stated
    changes = {}
    if fault.measurements is not None:
        changes["measurements"] = operator.write("expected.txt", json.dumps(fault.measurements))
    assert await operator.inject(*fault.flags, **changes) == 1
    assert fault.claim in capsys.readouterr().err
    assert operator.link.seen == []


async def test_a_document_seen_before_is_refused(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = operator.link.enclave.daemon
    assert await operator.inject(env_file=operator.write("bad.env", "OPENAI_API_KEY=two words")) == 4
    daemon.documents = list(daemon.served)
    assert await operator.inject() == 1
    assert "nonce: mismatch" in capsys.readouterr().err
    assert len(operator.link.bundles) == 1


async def test_without_the_test_root_it_is_no_enclave(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    assert await operator.inject(root=None) == 1
    assert "chain: " in capsys.readouterr().err
    assert operator.link.seen == []


async def test_a_debug_enclave_is_for_test_keys(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    operator.link.enclave.daemon.stated = {"pcrs": ZERO_PCRS}
    assert await operator.inject("--allow-debug") == 0
    assert "SKIP debug" in capsys.readouterr().out


async def test_a_sealing_key_put_in_between_is_refused(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    async def meddle(request: web.Request, body: bytes) -> web.Response:
        answer = await operator.link.forward(request, body)
        assert isinstance(answer.body, bytes)
        own = base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
        return web.json_response({**json.loads(answer.body), "public_key": own})

    operator.link.meddling = meddle
    assert await operator.inject() == 1
    assert "not signed by the attested key" in capsys.readouterr().err
    assert operator.link.bundles == []


async def test_the_sealing_key_of_another_gateway_is_refused(
    operator: Operator, other_operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await operator.inject(url=other_operator.link.url) == 1
    assert "not signed by the attested key" in capsys.readouterr().err
    assert other_operator.link.bundles == []


@pytest.mark.parametrize(
    "offer",
    [b"", b"[]", b"{}", b'{"kem_id": 32, "kdf_id": 1, "aead_id": 3}', b'{"kem_id": 32, "kdf_id": 1, "aead_id": 2}'],
)
async def test_what_is_no_sealing_key_is_refused(operator: Operator, offer: bytes) -> None:
    async def meddle(_request: web.Request, _body: bytes) -> web.Response:
        return web.Response(body=offer)

    operator.link.meddling = meddle
    assert await operator.inject() == 1
    assert operator.link.bundles == []


@pytest.mark.parametrize("change", [{"kem_id": 16}, {"kdf_id": 3}, {"aead_id": 3}])
async def test_a_sealing_key_of_another_suite_is_refused(operator: Operator, change: dict[str, int]) -> None:
    async def meddle(request: web.Request, body: bytes) -> web.Response:
        answer = await operator.link.forward(request, body)
        assert isinstance(answer.body, bytes)
        return web.json_response({**json.loads(answer.body), **change})

    operator.link.meddling = meddle
    assert await operator.inject() == 1
    assert operator.link.bundles == []


async def test_a_page_in_the_place_of_the_signing_key_is_refused(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.inject.attested.fetch_signing_key", lambda _url: b"<html>")
    assert await operator.inject() == 1
    assert "/signing-key is not a PEM public key" in capsys.readouterr().err
    assert operator.link.seen == []


async def test_a_host_that_was_first_is_noticed(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    """It injects keys of its own, which it may, and claims that the operator's were accepted, which it cannot prove."""

    async def meddle(request: web.Request, body: bytes) -> web.Response | None:
        if not body:
            return None
        own = json.dumps({"openai_api_key": "the host's", "bytedance_api_key": "x"}).replace("the host's", "own")
        return await operator.link.forward(request, own.encode())

    operator.link.meddling = meddle
    assert await operator.inject() == 1
    assert key_of(operator) == "own"
    assert "receipt is not signed by the attested key" in capsys.readouterr().err


async def test_a_receipt_that_is_lost_on_its_way(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    async def meddle(request: web.Request, body: bytes) -> web.Response | None:
        if body:
            await operator.link.forward(request, body)
            assert request.transport is not None
            request.transport.abort()
        return None

    operator.link.meddling = meddle
    assert await operator.inject() == 1
    assert key_of(operator) == SECRET
    assert "the bundle was sent, but no receipt came" in capsys.readouterr().err


async def test_a_receipt_for_another_bundle_is_none(operator: Operator) -> None:
    async def meddle(_request: web.Request, body: bytes) -> web.Response | None:
        if not body:
            return None
        receipt = operator.link.enclave.services.sealing_key.receipt("another")
        return web.json_response({"status": "ok", "heartbeat_enabled": False, "receipt": receipt})

    operator.link.meddling = meddle
    assert await operator.inject() == 1


async def test_the_public_side_is_not_the_host_link(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    for url in (operator.options["attestation-url"], operator.link.enclave.proxied_url):
        assert await operator.inject(url=url) == 4
        assert "403" in capsys.readouterr().err
    assert operator.link.enclave.services.keyring.injected is None


@pytest.mark.parametrize("option", ["url", "attestation-url"])
async def test_nobody_there(operator: Operator, option: str) -> None:
    nobody = f"{'https' if option == 'attestation-url' else 'http'}://127.0.0.1:{unused_port()}"
    assert await operator.inject(**{option: nobody}) == 3
    assert operator.link.bundles == []


async def test_without_tls_there_is_nothing_to_attest(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    async def attest(request: web.Request, _body: bytes) -> web.Response:
        return web.Response(body=b"AAAA")

    operator.link.meddling = attest
    assert await operator.inject(attestation_url=operator.link.url) == 2
    assert "is not https" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "content", "reason"),
    [
        ("env-file", None, "cannot read the environment file"),
        ("env-file", "FACILITATOR_URL=https://f.example", r"sets no \*_API_KEY"),
        ("env-file", f"OPENAI_API_KEY={SECRET}\n{SECRET}", "line 2 of the environment file is not NAME=value"),
        ("env-file", f"OPENAI_API_KEY='{SECRET}", "line 1 of the environment file has unbalanced quotes"),
        ("measurements", None, "cannot read the measurements"),
        ("measurements", "{}", "without a Measurements object"),
        (
            "measurements",
            json.dumps({"Measurements": {"HashAlgorithm": "SHA384", "PCR1": "11" * 48}}),
            "incomplete, without PCR0, PCR2: .*nitro.measurements --write",
        ),
        ("root", "no certificate", "neither PEM nor DER"),
    ],
)
async def test_unusable_files_stop_everything(
    operator: Operator, option: str, content: str | None, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(operator.folder / "absent") if content is None else operator.write("unusable", content)
    assert await operator.inject(**{option: path}) == 2
    errors = capsys.readouterr().err
    assert re.search(reason, errors)
    assert "secret" not in errors
    assert operator.link.seen == []


async def test_a_value_that_the_gateway_refuses_is_named_not_told(
    operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    path = operator.write("bad.env", f"OPENAI_API_KEY={SECRET}\nEVM_PAYMENT_ADDRESS=0x12\nSOMETHING=else\n")
    assert await operator.inject(env_file=path) == 4
    errors = capsys.readouterr().err
    assert "note: not injected: SOMETHING" in errors
    assert "400: evm_payment_address must be an Ethereum address" in errors
    assert SECRET not in errors


async def test_keys_from_standard_input(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"XAI_API_KEY=from-a-pipe")))
    assert await operator.inject(env_file="-") == 0
    assert key_of(operator, "xai") == "from-a-pipe"


async def test_as_a_process_as_the_launcher_calls_it(operator: Operator) -> None:
    script = (ROOT / "nitro" / "run-enclave.sh").read_text()
    called = re.search(r"python3 -m tools\.inject (?P<options>.*?)\|\|", script, re.DOTALL)
    assert called is not None
    names = re.findall(r"--([a-z-]+)", called["options"])
    assert names == ["url", "attestation-url", "measurements", "env-file"]
    options = [f"--{name}={operator.options[name]}" for name in (*names, "root")]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tools.inject", *options),
        cwd=ROOT,
        env={},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors
    assert b"PASS receipt" in out
    assert key_of(operator) == SECRET


def test_help_names_every_exit_status_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n  {status}  " in text for status in range(5))
    assert "HEARTBEAT_CONTRACT_ADDRESS" in text
