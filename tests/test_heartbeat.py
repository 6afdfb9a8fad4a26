"""Heartbeats: relayed by a real facilitator to a registry on a local chain, and how failures are handled."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from eth_hash.auto import keccak
from prometheus_client import CollectorRegistry

from gateway.heartbeat import Heartbeat, Relay
from gateway.keyring import Injection
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.telemetry.logs import JsonFormatter
from tests.running_gateway import RunningGateway, StartGateway
from tests.waiting import until, until_answer
from tools.chain.deployment import TEE_REGISTRY
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Body, Drop, Status
from tools.chain.local_chain import LocalChain
from tools.chain.registry import TEERecord, active_tees, register

NEVER = 86_400


@pytest.fixture
async def registered(chain: LocalChain, signer: Signer) -> bytes:
    operator = await chain.wallet()
    return await register(chain, operator, TEERecord("https://tee.example", signer.public_der, b"", operator.address))


class HeartbeatHarness:
    """A heartbeat and its metrics registry."""

    def __init__(self, signer: Signer) -> None:
        self.registry = CollectorRegistry()
        self.heartbeat = Heartbeat(signer, lambda: int(time.time()), self.registry, retry_wait=0.01)

    async def until(self, **expected: Any) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while not expected.items() <= (status := self.heartbeat.status()).items():
                await asyncio.sleep(0.02)
        return status


@pytest.fixture
async def harness(signer: Signer) -> AsyncIterator[HeartbeatHarness]:
    harness = HeartbeatHarness(signer)
    yield harness
    await harness.heartbeat.stop()


def relay(facilitator: LocalFacilitator, **changes: Any) -> Relay:
    return Relay(**{"facilitator_url": facilitator.url, "contract": TEE_REGISTRY, "interval": NEVER, **changes})


async def last_heartbeat(chain: LocalChain, signer: Signer) -> int:
    [entry] = [tee for tee in await active_tees(chain) if tee[3] == signer.public_der]
    seconds: int = entry[9]
    return seconds


async def test_a_heartbeat_reaches_the_registry(
    chain: LocalChain, facilitator: LocalFacilitator, registered: bytes, harness: HeartbeatHarness, signer: Signer
) -> None:
    assert harness.heartbeat.status() == {
        "enabled": False,
        "last_success": None,
        "last_error": None,
        "last_tx_hash": None,
        "total_sent": 0,
        "total_errors": 0,
        "interval_seconds": 900,
    }
    before = await last_heartbeat(chain, signer)
    await asyncio.sleep(1.1)
    harness.heartbeat.start(relay(facilitator))
    status = await harness.until(total_sent=1)
    assert status["enabled"] is True
    assert status["interval_seconds"] == NEVER
    assert (status["last_error"], status["total_errors"]) == (None, 0)
    assert abs(status["last_success"] - time.time()) < 10
    receipt = await chain.receipt(status["last_tx_hash"])
    assert receipt is not None
    assert receipt["status"] == "0x1"
    assert await last_heartbeat(chain, signer) > before
    assert harness.registry.get_sample_value("gateway_heartbeats_total", {"outcome": "sent"}) == 1
    assert harness.registry.get_sample_value("gateway_heartbeat_last_success_seconds") == status["last_success"]


async def test_what_is_signed(
    facilitator: LocalFacilitator, registered: bytes, harness: HeartbeatHarness, signer: Signer
) -> None:
    harness.heartbeat.start(relay(facilitator, buffer=120))
    await harness.until(total_sent=1)
    [call] = facilitator.called("heartbeat")
    assert call.body.keys() == {"teeId", "timestamp", "signature", "contractAddress"}
    assert (call.body["teeId"], call.body["contractAddress"]) == (signer.tee_id, TEE_REGISTRY)
    timestamp = int(call.body["timestamp"])
    assert abs(time.time() - 120 - timestamp) < 10
    public = load_der_public_key(signer.public_der)
    assert isinstance(public, RSAPublicKey)
    public.verify(
        base64.b64decode(call.body["signature"], validate=True),
        keccak(registered + timestamp.to_bytes(32, "big")),
        padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32),
        SHA256(),
    )


def test_a_clock_that_has_just_begun_ends_no_heartbeat(signer: Signer) -> None:
    """Clamped to 1970; the registry rejects a timestamp that is too old, and the next heartbeat has a later one."""
    heartbeat = Heartbeat(signer, lambda: 100, CollectorRegistry())
    relay = Relay(facilitator_url="https://pay.example", contract=TEE_REGISTRY, buffer=300)
    assert heartbeat.message(relay)["timestamp"] == "0"


async def test_nothing_is_signed_by_a_clock_that_cannot_be_believed(
    facilitator: LocalFacilitator, registered: bytes, signer: Signer
) -> None:
    doubts = ["the clock has no source", "it drifts"]
    heartbeat = Heartbeat(
        signer, lambda: int(time.time()), CollectorRegistry(), retry_wait=0.01, clock_reasons=lambda: doubts
    )
    heartbeat.start(relay(facilitator, interval=1))
    await until(lambda: heartbeat.status()["last_error"] is not None)
    assert heartbeat.status()["last_error"] == "the clock has no source; it drifts"
    assert not facilitator.called("heartbeat")
    doubts.clear()
    await until(lambda: heartbeat.status()["total_sent"])
    assert heartbeat.status()["last_error"] is None
    await heartbeat.stop()


async def test_it_beats_until_it_is_stopped(
    facilitator: LocalFacilitator, registered: bytes, harness: HeartbeatHarness
) -> None:
    harness.heartbeat.start(relay(facilitator, interval=1))
    status = await harness.until(total_sent=2)
    await harness.heartbeat.stop()
    sent = len(facilitator.called("heartbeat"))
    await asyncio.sleep(1.2)
    assert len(facilitator.called("heartbeat")) == sent
    assert harness.heartbeat.status() == {**status, "enabled": False}


async def test_passing_faults_are_outlived(
    facilitator: LocalFacilitator, registered: bytes, harness: HeartbeatHarness
) -> None:
    facilitator.faults.set("heartbeat", Status(503), times=2)
    harness.heartbeat.start(relay(facilitator))
    status = await harness.until(total_sent=1)
    assert (status["total_errors"], status["last_error"]) == (0, None)
    assert len(facilitator.called("heartbeat")) == 3


async def test_an_answer_that_comes_in_pieces(harness: HeartbeatHarness) -> None:
    async def in_pieces(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"success": tr', b'ue, "txHash": "0xabc"}'):
            await response.write(piece)
            await asyncio.sleep(0.1)
        return response

    async with RawTestServer(in_pieces) as server:
        url = str(server.make_url("")).rstrip("/")
        harness.heartbeat.start(Relay(facilitator_url=url, contract=TEE_REGISTRY, interval=NEVER))
        status = await harness.until(total_sent=1)
        await harness.heartbeat.stop()
    assert (status["last_tx_hash"], status["total_errors"]) == ("0xabc", 0)


@pytest.mark.parametrize(
    ("fault", "tries", "reason"),
    [
        (Status(500), 4, "the facilitator returned 500: injected fault"),
        (Status(429), 4, "the facilitator returned 429: injected fault"),
        (Status(400), 1, "the facilitator returned 400: injected fault"),
        (Drop(), 4, "the facilitator did not respond: ServerDisconnectedError"),
        (Body("no JSON"), 1, "the facilitator returned 200: no success"),
        (Body("[" * 5000), 1, "the facilitator returned 200: no success"),
        (Body(f'{{"success": true{" " * 64 * 1024}}}'), 1, "the facilitator returned 200: no success"),
        (
            Body('{"success": false, "error": "two\\nlines \\u001b[31m"}'),
            1,
            "the facilitator returned 200: two lines  [31m",
        ),
        (Body(f'{{"success": false, "error": "{"x" * 900}"}}'), 1, "the facilitator returned 200: " + "x" * 170),
    ],
)
async def test_failures_are_counted_and_told(
    facilitator: LocalFacilitator, harness: HeartbeatHarness, fault: Any, tries: int, reason: str
) -> None:
    facilitator.faults.set("heartbeat", fault)
    harness.heartbeat.start(relay(facilitator))
    status = await harness.until(total_errors=1)
    assert (status["total_sent"], status["last_success"], status["last_tx_hash"]) == (0, None, None)
    assert status["last_error"] == reason
    assert len(facilitator.called("heartbeat")) == tries
    assert harness.registry.get_sample_value("gateway_heartbeats_total", {"outcome": "failed"}) == 1


async def test_a_failure_is_logged_without_full_addresses(
    facilitator: LocalFacilitator, harness: HeartbeatHarness, caplog: pytest.LogCaptureFixture
) -> None:
    facilitator.faults.set("heartbeat", Body(f'{{"success": false, "error": "{TEE_REGISTRY} reverted"}}'))
    harness.heartbeat.start(relay(facilitator))
    await harness.until(total_errors=1)
    [line] = [json.loads(JsonFormatter().format(it)) for it in caplog.records if it.name == "gateway.heartbeat"]
    assert line["event"] == "heartbeat failed"
    assert line["reason"] == f"the facilitator returned 200: {TEE_REGISTRY[:10]}... reverted"


async def test_a_registry_that_refuses_is_an_error_until_it_takes_one(
    facilitator: LocalFacilitator, registered: bytes, harness: HeartbeatHarness
) -> None:
    facilitator.faults.set("heartbeat", Status(400), times=1)
    harness.heartbeat.start(relay(facilitator, interval=1))
    await harness.until(total_errors=1)
    status = await harness.until(total_sent=1)
    assert (status["total_errors"], status["last_error"]) == (1, None)


async def test_a_facilitator_that_is_away_is_an_error(harness: HeartbeatHarness) -> None:
    harness.heartbeat.start(Relay(facilitator_url="http://127.0.0.1:1", contract=TEE_REGISTRY, interval=NEVER))
    status = await harness.until(total_errors=1)
    assert status["last_error"] == "the facilitator did not respond: ClientConnectorError"


async def test_an_unexpected_failure_does_not_end_the_heartbeats(
    facilitator: LocalFacilitator, registered: bytes, signer: Signer
) -> None:
    """The registry drops a node after half an hour without one."""
    readings = iter([MemoryError()])

    def clock() -> int:
        for error in readings:
            raise error
        return int(time.time())

    heartbeat = Heartbeat(signer, clock, CollectorRegistry(), retry_wait=0.01)
    heartbeat.start(relay(facilitator, interval=1))
    try:
        await until(lambda: heartbeat.status()["total_errors"])
        status = heartbeat.status()
        assert (status["enabled"], status["last_error"]) == (True, "the gateway failed: MemoryError")
        await until(lambda: heartbeat.status()["total_sent"])
        status = heartbeat.status()
        assert (status["total_errors"], status["last_error"]) == (1, None)
    finally:
        await heartbeat.stop()


INJECTION = Injection(facilitator_url="https://f.example", heartbeat_contract_address=TEE_REGISTRY)


def test_the_relay_of_an_injection() -> None:
    assert Relay.from_injection(INJECTION, Settings()) == Relay(
        facilitator_url="https://f.example", contract=TEE_REGISTRY
    )
    chosen = Injection(heartbeat_contract_address=TEE_REGISTRY, tee_heartbeat_interval=60, tee_heartbeat_buffer=0)
    assert Relay.from_injection(chosen, Settings(facilitator_url="https://e.example")) == Relay(
        facilitator_url="https://e.example", contract=TEE_REGISTRY, interval=60, buffer=0
    )
    assert Relay.from_injection(chosen, Settings()) is None
    assert Relay.from_injection(Injection(facilitator_url="https://f.example"), Settings()) is None


async def status_of(gateway: RunningGateway) -> Any:
    async with gateway.session.get(gateway.url + "/heartbeat/status") as response:
        assert response.status == 200
        return await response.json()


async def test_injection_starts_it_and_the_drain_ends_it(
    facilitator: LocalFacilitator, registered: bytes, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway()
    assert (await status_of(gateway))["enabled"] is False
    keys = {
        "facilitator_url": facilitator.url,
        "heartbeat_contract_address": TEE_REGISTRY,
        "tee_heartbeat_interval": 600,
        "tee_heartbeat_buffer": 10,
    }
    answer = await (await gateway.post("/v1/keys", keys)).json()
    assert answer["heartbeat_enabled"] is True
    status = await until_answer(lambda: status_of(gateway), lambda status: status["total_sent"])
    assert (status["enabled"], status["interval_seconds"]) == (True, 600)
    async with gateway.session.get(gateway.url + "/metrics") as response:
        assert 'gateway_heartbeats_total{outcome="sent"} 1.0' in await response.text()
    await gateway.services.heartbeat.stop()
    assert (await status_of(gateway))["enabled"] is False


async def test_without_a_registry_it_does_not_run(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    answer = await (await gateway.post("/v1/keys", {"facilitator_url": "https://f.example"})).json()
    assert answer["heartbeat_enabled"] is False
    async with aiohttp.ClientSession() as session, session.post(gateway.url + "/heartbeat/status") as response:
        assert response.status == 405
