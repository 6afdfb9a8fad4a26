"""Two workers under misbehaving clients: both survive, release everything and drain."""

import asyncio
import json
import re
from pathlib import Path
from random import Random

import pytest

from tests.running_gateway import CHAT
from tests.waiting import until
from tests.workers.gateway_process import GatewayProcess, gateway
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario
from tools.soak import clients
from tools.soak.clients import Client, Findings
from tools.soak.raw_client import RawClient, chat_request
from tools.verify.signing_key import load_signing_key

SECONDS, ROUNDS = 4.0, 10
ENOUGH = 50
PATIENT = tuple(scenario for scenario in clients._SCENARIOS if "stall_after" not in scenario)
"""A process of its own waits for a silent vendor as long as it does in service."""

_GAUGES = ("requests_in_flight", "requests_queued", "open_streams", "upstream_connections")
_ESTABLISHED_OR_CLOSING = {"01", "04", "05", "08"}


def connections(port: int) -> int:
    """The kernel's count of connections to a local port that are not closed."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(int(entry[1].split(":")[1], 16) == port and entry[3] in _ESTABLISHED_OR_CLOSING for entry in fields)


def resident(pid: int) -> int:
    """Resident memory of a process in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024


async def busy(running: GatewayProcess) -> dict[str, float]:
    """The gauges that are not zero; the scrape itself takes no place."""
    text = await (await running.get("/metrics")).text()
    samples = re.findall(r"^gateway_(\w+)(?:\{[^}]*\})? ([\d.]+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in samples if name in _GAUGES and float(value)}


async def at_rest(running: GatewayProcess) -> None:
    async with asyncio.timeout(15):
        while await busy(running) or connections(port_of(running)) > 0:
            await asyncio.sleep(0.1)


def port_of(running: GatewayProcess) -> int:
    return int(running.url.rpartition(":")[2])


async def test_two_workers_survive_rude_clients(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_SCENARIOS", PATIENT)
    limits = {"GATEWAY_MAX_INFLIGHT": "24", "GATEWAY_QUEUE": "6"}
    async with gateway(**fleet.environment(), **limits) as running:
        key = load_signing_key((await (await running.get("/signing-key")).json())["public_key"].encode())
        workers, findings = running.workers(), Findings()
        before = [resident(pid) for pid in workers]
        rude = [Client(running.url, key, Random(f"workers/{number}"), findings) for number in range(24)]
        for _ in range(ROUNDS):
            if findings.verified >= ENOUGH:
                break
            until = asyncio.get_running_loop().time() + SECONDS
            await asyncio.gather(*(client.run(until) for client in rude))
        assert findings.problems == []
        assert findings.verified >= ENOUGH
        await at_rest(running)
        assert running.workers() == workers
        for pid, size in zip(workers, before, strict=True):
            assert resident(pid) - size < 150 * 2**20
    assert running.process.returncode == 0
    ends = [json.loads(line) for line in running.log if '"event":"request"' in line]
    assert len({end["id"] for end in ends}) == len(ends) > 2 * ENOUGH
    assert {end.get("state") for end in ends} <= {"settled", "released", "refused", None}
    assert not any(end.get("status") == 500 for end in ends)
    assert not any('"level":"error"' in line for line in running.log)


async def test_places_are_bounded_over_both_workers(fleet: Fleet) -> None:
    """Four places and a queue of two, shared by two workers: of twelve simultaneous requests six are rejected."""
    fleet.openai.default = Scenario(text="slow", first_byte_delay=0.7)
    limits = {"GATEWAY_MAX_INFLIGHT": "4", "GATEWAY_QUEUE": "2"}
    async with gateway(**fleet.environment(), **limits) as running:
        answers = await asyncio.gather(*(running.post("/v1/chat/completions", CHAT) for _ in range(12)))
        refused = [answer for answer in answers if answer.status == 503]
        assert len(refused) == 6
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        await at_rest(running)
        assert (await running.post("/v1/chat/completions", CHAT)).status == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/metrics"), ("POST", "/v1/keys")])
async def test_local_routes_refuse_strangers_in_every_worker(fleet: Fleet, method: str, path: str) -> None:
    async with gateway(**fleet.environment()) as running:
        for header in ("X-Forwarded-For: 127.0.0.1", "Origin: http://127.0.0.1", "Via: 1.1 x"):
            for _ in range(4):
                async with RawClient(running.url) as client:
                    await client.send(
                        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode()
                    )
                    assert (await client.read()).startswith(b"HTTP/1.1 403 ")
        assert (await running.get("/metrics")).status == 200


async def test_clients_that_leave_close_the_upstream_in_every_worker(fleet: Fleet) -> None:
    fleet.openai.default = Scenario(text="word " * 1000, event_delay=0.05)
    async with gateway(**fleet.environment()) as running:
        for _ in range(6):
            async with RawClient(running.url) as client:
                await client.send(chat_request({**CHAT, "stream": True}))
                assert (await client.read()).startswith(b"HTTP/1.1 200 ")
        await at_rest(running)
        await until(lambda: fleet.openai.abort_count >= 6)
