"""The TEE registry's entry compared with an attested enclave, read over JSON-RPC by web3."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from eth_abi.abi import encode
from eth_hash.auto import keccak

from tests.tools.verify.threaded_server import serving
from tools.verify.__main__ import main
from tools.verify.attestation.document import parse
from tools.verify.claims import Verdict
from tools.verify.double import DEFAULT_PCRS, AttestationDouble
from tools.verify.errors import UnreachableError, UsageError
from tools.verify.registry import CLAIMS, DEFAULT_REGISTRY, RegisteredTee, active_tees, compare
from tools.verify.signing_key import load_signing_key

Json = Any
CERTIFICATE = b"leaf certificate DER"
NOW = 1_790_000_000
ENCLAVE = AttestationDouble()
PCR_HASH = keccak(DEFAULT_PCRS[0] + DEFAULT_PCRS[1] + DEFAULT_PCRS[2])
ENTRY = (
    "(address,address,string,bytes,bytes,bytes32,uint8,bool,uint256,uint256,"
    "(uint8,uint16,uint16,uint16,bytes,bytes,uint256))[]"
)
NOBODY = "0x" + "00" * 20


@pytest.fixture(scope="module")
def document(answer_signer: Any) -> bytes:
    key_hash = load_signing_key(answer_signer.pem).key_hash
    return ENCLAVE.document(tls_certificate=CERTIFICATE, app_key_hash=key_hash)


@pytest.fixture
def tee(answer_signer: Any) -> RegisteredTee:
    return RegisteredTee(
        public_key=answer_signer.spki,
        tls_certificate=CERTIFICATE,
        pcr_hash=PCR_HASH,
        enabled=True,
        last_heartbeat=NOW - 900,
        block_time=NOW,
    )


def verdicts(document: bytes, *tees: RegisteredTee) -> dict[str, Verdict]:
    return {claim.name: claim.verdict for claim in compare(parse(document), tees)}


def test_an_entry_that_says_the_same(document: bytes, tee: RegisteredTee, answer_signer: Any) -> None:
    tee = replace(tee, last_heartbeat=NOW - 1800)
    assert verdicts(document, replace(tee, public_key=b"other"), tee) == dict.fromkeys(CLAIMS, Verdict.PASS)
    assert compare(parse(document), [tee])[0].detail == answer_signer.tee_id


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"tls_certificate": b"other"}, "registry_cert"),
        ({"pcr_hash": bytes(32)}, "registry_pcrs"),
        ({"enabled": False}, "registry_alive"),
        ({"last_heartbeat": NOW - 1801}, "registry_alive"),
        ({"last_heartbeat": 2**40}, "registry_alive"),
        ({"last_heartbeat": 2**255}, "registry_alive"),
    ],
)
def test_an_entry_that_says_something_else(
    changes: dict[str, Any], claim: str, document: bytes, tee: RegisteredTee
) -> None:
    found = verdicts(document, replace(tee, **changes))
    assert found == {**dict.fromkeys(CLAIMS, Verdict.PASS), claim: Verdict.FAIL}


def test_no_entry_for_the_key(document: bytes, tee: RegisteredTee) -> None:
    missing = {**dict.fromkeys(CLAIMS, Verdict.SKIP), "registry_key": Verdict.FAIL}
    assert verdicts(document) == missing
    assert verdicts(document, replace(tee, public_key=b"other")) == missing
    unbound = ENCLAVE.sign({**ENCLAVE.fields(), "user_data": None})
    assert verdicts(unbound, tee) == missing


@dataclass
class Node:
    """A JSON-RPC node whose registry has one entry. ``block`` is the latest one, ``calls`` are the requests."""

    public_key: bytes
    block: Json = field(default_factory=lambda: {"timestamp": hex(NOW)})
    calls: list[Json] = field(default_factory=list)

    def answer(self, _path: str, body: bytes) -> tuple[int, bytes]:
        request = json.loads(body)
        self.calls.append(request)
        result: Json = {
            "eth_call": "0x" + encode([ENTRY], [[self._entry()]]).hex(),
            "eth_getBlockByNumber": self.block,
            "eth_chainId": "0x29f4",
        }[request["method"]]
        return 200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()

    def _entry(self) -> tuple[Any, ...]:
        ohttp = (1, 0x20, 1, 3, b"k" * 32, b"c", NOW)
        return (NOBODY, NOBODY, "https://x", self.public_key, CERTIFICATE, PCR_HASH, 0, True, NOW - 5, NOW - 3, ohttp)


@pytest.fixture
def node(answer_signer: Any) -> Node:
    return Node(answer_signer.spki)


@pytest.fixture
def rpc(node: Node) -> Iterator[str]:
    with serving(node.answer) as url:
        yield url


def test_active_tees_are_read_from_the_contract(rpc: str, node: Node, answer_signer: Any) -> None:
    assert active_tees(rpc, DEFAULT_REGISTRY) == [
        RegisteredTee(answer_signer.spki, CERTIFICATE, PCR_HASH, True, NOW - 3, NOW)
    ]
    call = next(call for call in node.calls if call["method"] == "eth_call")["params"][0]
    assert call["to"] == DEFAULT_REGISTRY
    assert call["data"] == "0x" + keccak(b"getActiveTEEs(uint8)")[:4].hex() + "00" * 32


def test_the_chain_option_adds_its_claims(
    rpc: str, document: bytes, write: Callable[[str, Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = write("root.pem", ENCLAVE.root.public_bytes(Encoding.PEM))
    arguments = ["attestation", "--document", write("d", document), "--root", root, "--at", "document"]
    assert main([*arguments, "--chain", "--rpc", rpc]) == 0
    out = capsys.readouterr().out
    assert [name for name in CLAIMS if f"PASS {name} " in out] == list(CLAIMS)
    assert main([*arguments, "--chain", "--rpc", "http://127.0.0.1:1"]) == 3
    assert main(["attestation", "--document", root, "--chain", "--rpc", "http://127.0.0.1:1"]) == 1
    assert main([*arguments, "--chain", "--rpc", rpc, "--registry", "0x12"]) == 2


def test_without_web3_the_option_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "web3", None)
    with pytest.raises(UsageError, match="needs the web3 package"):
        active_tees("http://127.0.0.1:1", DEFAULT_REGISTRY)


def test_nobody_at_the_rpc_is_unreachable() -> None:
    with pytest.raises(UnreachableError):
        active_tees("http://127.0.0.1:1", DEFAULT_REGISTRY)


@pytest.mark.parametrize("block", [{}, {"timestamp": [1]}, "0x1", None])
def test_what_is_no_block_is_no_answer(rpc: str, node: Node, block: Json) -> None:
    node.block = block
    with pytest.raises(UnreachableError, match="cannot be read"):
        active_tees(rpc, DEFAULT_REGISTRY)
