"""``python -m tools.registry`` on the local chain: approve an image, register an enclave, watch its liveness."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from eth_hash.auto import keccak

from gateway.catalog import Catalog
from gateway.heartbeat import Relay
from gateway.signing import Signer
from tests.enclave import Enclave, enclave
from tests.nitriding_double import MEASUREMENTS, NitridingDouble
from tests.waiting import until
from tools.chain.deployment import TEE_REGISTRY
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.registry.__main__ import main
from tools.verify.__main__ import main as verify
from tools.verify.double import DEFAULT_PCRS

PCR_HASH = "0x" + keccak(DEFAULT_PCRS[0] + DEFAULT_PCRS[1] + DEFAULT_PCRS[2]).hex()
PAYEE = "0x" + "11" * 20


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain() as chain:
        yield chain


@dataclass
class Administrator:
    """An administrator with ether, measurements, and TEE types unique to the test."""

    folder: Path
    rpc: str
    key: str
    type: int

    async def run(self, command: str, *arguments: str) -> int:
        options = ["--rpc", self.rpc, "--registry", TEE_REGISTRY, "--type", str(self.type)]
        return await asyncio.to_thread(main, [command, *options, *arguments])

    async def approve(self, measurements: Any = MEASUREMENTS) -> int:
        path = self.write("measurements.txt", json.dumps(measurements))
        return await self.run("approve", "--measurements", path, "--version", "v1", "--key", self.key)

    def write(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)


_types = iter(range(1, 256))


@pytest.fixture
async def administrator(chain: LocalChain, tmp_path: Path) -> Administrator:
    wallet = await chain.wallet()
    key = tmp_path / "key"
    key.write_text(wallet.key)
    return Administrator(tmp_path, chain.rpc_url, str(key), next(_types))


@pytest.fixture
async def running(tmp_path: Path, catalog: Catalog) -> AsyncIterator[Enclave[NitridingDouble]]:
    """An enclave with a key of its own, since a key is registered once."""
    signer = await asyncio.to_thread(Signer)
    async with NitridingDouble(tmp_path) as daemon, enclave(daemon, signer, catalog) as inside:
        yield inside


async def register(administrator: Administrator, running: Enclave[NitridingDouble], *more: str) -> int:
    measurements = administrator.write("measurements.txt", json.dumps(MEASUREMENTS))
    root = administrator.write("root.pem", running.daemon.hypervisor.root.public_bytes(Encoding.PEM))
    options = ["--measurements", measurements, "--key", administrator.key, "--root", root]
    return await administrator.run(
        "register", *options, "--url", running.daemon.public_url, "--payment-address", PAYEE, *more
    )


async def test_a_part_of_an_image_is_not_approved(
    administrator: Administrator, capsys: pytest.CaptureFixture[str]
) -> None:
    part = {"Measurements": {name: value for name, value in MEASUREMENTS["Measurements"].items() if name != "PCR0"}}
    assert await administrator.approve(part) == 2
    assert "incomplete, without PCR0: " in capsys.readouterr().err


def facts(printed: str) -> dict[str, str]:
    return {line[:16].strip(): line[17:].strip() for line in printed.splitlines() if line[16:17] == " "}


async def test_from_approval_to_a_living_node(
    administrator: Administrator,
    running: Enclave[NitridingDouble],
    chain: LocalChain,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await administrator.approve() == 0
    assert f"{PCR_HASH} approved as v1: 0x" in capsys.readouterr().out
    assert await administrator.approve() == 0
    assert "is already approved" in capsys.readouterr().out

    assert await register(administrator, running, "--endpoint", "https://tee.example/\x1b[2J") == 0
    registered = facts(capsys.readouterr().out)
    signer = running.services.signer
    assert registered["tee_id"] == signer.tee_id
    assert (registered["endpoint"], registered["type"]) == (r"https://tee.example/\x1b[2J", str(administrator.type))
    assert registered["payment address"] == PAYEE
    assert (registered["enabled"], registered["active"]) == ("yes", "yes")
    assert registered["PCR hash"] == f"{PCR_HASH} approved"
    assert registered["key SHA-256"] == hashlib.sha256(signer.public_der).hexdigest()
    assert registered["cert SHA-256"] == hashlib.sha256(running.daemon.certificate).hexdigest()

    for which in (("--tee-id", signer.tee_id), ("--url", running.daemon.public_url)):
        assert await administrator.run("show", *which) == 0
        assert facts(capsys.readouterr().out) == registered
    assert await administrator.run("show") == 0
    assert capsys.readouterr().out.startswith(rf"{signer.tee_id} https://tee.example/\x1b[2J heartbeat ")

    async with LocalFacilitator(chain.rpc_url) as facilitator:
        await asyncio.sleep(1.1)
        heartbeat = running.services.heartbeat
        heartbeat.start(Relay(facilitator_url=facilitator.url, contract=TEE_REGISTRY, interval=9999, buffer=0))
        await until(lambda: heartbeat.status()["total_sent"])
    assert await administrator.run("show", "--tee-id", signer.tee_id) == 0
    assert facts(capsys.readouterr().out)["heartbeat"] > registered["heartbeat"]


async def test_what_is_registered_is_what_a_verifier_finds(
    administrator: Administrator, running: Enclave[NitridingDouble], capsys: pytest.CaptureFixture[str]
) -> None:
    administrator.type = 0
    await administrator.approve()
    assert await register(administrator, running) == 0
    capsys.readouterr()
    options = ["--url", running.daemon.public_url, "--root", str(administrator.folder / "root.pem"), "--chain"]
    options += ["--rpc", administrator.rpc, "--registry", TEE_REGISTRY]
    assert await asyncio.to_thread(verify, ["attestation", *options]) == 0
    assert "PASS registry_alive" in capsys.readouterr().out


async def test_an_enclave_is_registered_once(
    administrator: Administrator, running: Enclave[NitridingDouble], capsys: pytest.CaptureFixture[str]
) -> None:
    await administrator.approve()
    assert await register(administrator, running) == 0
    capsys.readouterr()
    assert await register(administrator, running) == 1
    assert "refuses: TEEAlreadyExists" in capsys.readouterr().err


async def test_an_image_has_to_be_approved_first(
    administrator: Administrator, running: Enclave[NitridingDouble], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await register(administrator, running) == 1
    assert f"has not approved {PCR_HASH}" in capsys.readouterr().err
    assert await administrator.run("show", "--tee-id", running.services.signer.tee_id) == 1
    assert "refuses: TEENotFound" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stated", "claim"),
    [
        ({"pcrs": {**DEFAULT_PCRS, 0: b"\xff" * 48}}, "pcrs"),
        ({"pcrs": dict.fromkeys(DEFAULT_PCRS, bytes(48))}, "debug"),
        ({"app_key_hash": bytes(32)}, "key_hash"),
        ({"tls_certificate": b"another"}, "tls_cert"),
    ],
)
async def test_another_enclave_than_expected_is_not_registered(
    administrator: Administrator,
    running: Enclave[NitridingDouble],
    stated: dict[str, Any],
    claim: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await administrator.approve()
    running.daemon.stated = stated
    assert await register(administrator, running) == 1
    assert f"{claim}: " in capsys.readouterr().err
    assert await administrator.run("show") == 0
    assert capsys.readouterr().out.count("0x") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "--tee-id", "0x12"),
        ("show", "--type", "256"),
        ("show", "--registry", "0x12"),
        ("approve",),
        ("register", "--payment-address", "me"),
        (),
    ],
)
def test_options_that_are_none(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_payment_address_with_a_typing_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["register", "--payment-address", TEE_REGISTRY.replace("A", "a", 1)])
    assert "argument --payment-address: wrong EIP-55 checksum" in capsys.readouterr().err


async def test_unusable_and_unreachable(administrator: Administrator, capsys: pytest.CaptureFixture[str]) -> None:
    for no_key in ("sk-secret", "0" * 64, "f" * 64):
        administrator.key = administrator.write("no-key", no_key)
        assert await administrator.approve() == 2
        assert no_key not in capsys.readouterr().err
    assert await administrator.run("show", "--registry", PAYEE) == 3
    administrator.rpc = "http://127.0.0.1:1"
    assert await administrator.run("show") == 3
