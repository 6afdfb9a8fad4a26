"""Several workers act as one gateway: one identity, one injection, one set of metrics, and lost ones are replaced."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.running_gateway import CHAT
from tests.waiting import until
from tests.workers.gateway_process import GatewayProcess, gateway
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario, ToolCall

TWO_ANSWERS = 'gateway_requests_total{path="/v1/chat/completions",status="200"} 2.0'


def only(environment: dict[str, str], suffix: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.endswith(suffix)}


@pytest.fixture
async def urls(fleet: Fleet) -> dict[str, str]:
    return only(fleet.environment(), "_BASE_URL")


async def test_one_identity_and_turns(fleet: Fleet) -> None:
    async with gateway(**fleet.environment()) as running:
        assert len(running.workers()) == 2
        keys = [await (await running.get("/signing-key")).json() for _ in range(4)]
        assert len({key["tee_id"] for key in keys}) == 1
        sealing = [await (await running.get("/v1/keys/sealing-key")).json() for _ in range(4)]
        assert len({offer["public_key"] for offer in sealing}) == 1
        assert {(await running.post("/v1/chat/completions", CHAT)).status for _ in range(4)} == {200}


@pytest.mark.parametrize(("digits", "status"), [(640, 200), (641, 400)])
async def test_integers_that_take_long_to_read_are_refused(fleet: Fleet, digits: int, status: int) -> None:
    """Thirty megabytes of integers of 4,300 digits, Python's own limit, took five seconds."""
    async with gateway(**fleet.environment()) as running:
        response = await running.post("/v1/chat/completions", {**CHAT, "prediction": {"n": int("9" * digits)}})
        assert response.status == status


async def test_connections_are_split_evenly_and_metrics_add_up(fleet: Fleet) -> None:
    async with gateway(**fleet.environment()) as running:
        pids = set(running.workers())
        for _ in range(10):
            await running.post("/v1/chat/completions", CHAT)
        text = await (await running.get("/metrics")).text()
        assert 'gateway_requests_total{path="/v1/chat/completions",status="200"} 10.0' in text
        assert text.count("# TYPE gateway_requests_total counter") == 1
        assert {int(pid) for pid in pids} == set(running.workers())
        lines = [json.loads(line) for line in running.log if '"path":"/v1/chat/completions"' in line]
        assert len(lines) == 10


@pytest.mark.parametrize(("provider", "model"), [("anthropic", "claude-sonnet-4-6"), ("google", "gemini-3.5-flash")])
async def test_a_signature_that_one_worker_has_cached_is_known_to_all(fleet: Fleet, provider: str, model: str) -> None:
    """A client that drops unknown keys, with a connection per request: the workers take turns."""
    simulator = fleet.simulators[provider]
    function = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Weather in Oslo?"}]
    chat = {"model": model, "messages": messages, "tools": [{"type": "function", "function": function}]}
    async with gateway(**fleet.environment()) as running:
        for _ in range(4):
            simulator.enqueue(
                Scenario(reasoning="Hm.", tool_calls=(ToolCall(name="weather", arguments={"city": "Oslo"}),))
            )
            response = await running.post("/v1/chat/completions", {**chat, "reasoning_effort": "medium"})
            assert "x-dropped-params" not in response.headers
            [call] = (await response.json())["choices"][0]["message"]["tool_calls"]
            kept = {key: call[key] for key in ("id", "type", "function")}
            messages.append({"role": "assistant", "content": None, "tool_calls": [kept]})
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": "4 C"})
        sent = json.dumps(simulator.requests[-1].json)
        assert len(re.findall(r'"(?:signature|thoughtSignature)": "(?!skip)', sent)) == 3


async def test_injection_reaches_all_once(urls: dict[str, str]) -> None:
    async with gateway(**urls) as running:
        assert (await running.post("/v1/chat/completions", CHAT)).status == 503
        answers = await asyncio.gather(
            *(running.post("/v1/keys", {"openai_api_key": f"key-{number}"}) for number in range(4))
        )
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
        assert {(await running.post("/v1/chat/completions", CHAT)).status for _ in range(6)} == {200}
        assert (await running.post("/v1/keys", {})).status == 409


async def test_an_injection_reaches_a_worker_that_is_coming_up(urls: dict[str, str]) -> None:
    async with gateway(**urls) as running:
        first, _ = running.workers()
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while len(workers := running.workers()) < 2 or first in workers:
                await asyncio.sleep(0.001)
        assert (await running.post("/v1/keys", {"openai_api_key": "injected"})).status == 200
        async with asyncio.timeout(10):
            while "gateway_workers_ready 2.0" not in await (await running.get("/metrics")).text():
                await asyncio.sleep(0.05)
        health = [await (await running.get("/health")).json() for _ in range(6)]
        assert [told["providers"] for told in health] == [["openai"]] * 6


async def test_the_longest_injection_fits_between_processes(urls: dict[str, str]) -> None:
    names = ("openai", "anthropic", "google", "xai", "bytedance", "nous", "coingecko")
    keys = {f"{name}_api_key": '"' * 4096 for name in names}
    addresses = {f"{name}_url": f"https://{name}.example/".ljust(2048, "p") for name in ("facilitator", "evm_rpc")}
    async with gateway(**urls) as running:
        before = running.workers()
        longer = {**addresses, "facilitator_url": "https://pay.example/".ljust(800_000, "p")}
        assert (await running.post("/v1/keys", {**keys, **longer})).status == 400
        assert (await running.post("/v1/keys", {**keys, **addresses})).status == 200
        health = [await (await running.get("/health")).json() for _ in range(4)]
        assert {len(told["providers"]) for told in health} == {6}
        assert running.workers() == before


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_injection_that_cannot_be_taken_changes_nothing(
    tmp_path: Path, urls: dict[str, str], workers: str
) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    settings = {"GATEWAY_PAYMENTS": "required", "GATEWAY_JOURNAL": str(tmp_path / "file" / "journal.sqlite3")}
    async with gateway(**urls, **settings, GATEWAY_WORKERS=workers) as running:
        before = running.workers()
        payee = {"facilitator_url": "http://127.0.0.1:9", "evm_payment_address": "0x" + "1" * 40}
        assert (await running.post("/v1/keys", {"openai_api_key": "refused", **payee})).status == 503
        assert (await (await running.get("/health")).json())["providers"] == []
        assert (await running.post("/v1/keys", {"xai_api_key": "taken"})).status == 200
        health = [await (await running.get("/health")).json() for _ in range(4)]
        assert [told["providers"] for told in health] == [["xai"]] * 4
        assert running.workers() == before


async def test_metrics_and_heartbeat_are_told_while_workers_drain(fleet: Fleet) -> None:
    fleet.openai.default = Scenario(text="one two three four", event_delay=0.5)
    async with gateway(**fleet.environment()) as running, aiohttp.ClientSession() as streaming:
        url = running.url + "/v1/chat/completions"
        streams = [await streaming.post(url, json={**CHAT, "stream": True}) for _ in range(2)]
        async with aiohttp.ClientSession() as first, aiohttp.ClientSession() as second:
            for kept in (first, second):
                assert await (await kept.get(running.url + "/health")).read()
            running.process.terminate()
            await asyncio.sleep(0.2)
            assert b"gateway_requests_total" in await (await first.get(running.url + "/metrics")).read()
            assert (await (await second.get(running.url + "/heartbeat/status")).json())["enabled"] is False
        bodies = [await stream.read() for stream in streams]
        assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)


async def test_a_lost_worker_is_replaced_as_the_same_gateway(urls: dict[str, str]) -> None:
    async with gateway(**urls) as running:
        await running.post("/v1/keys", {"openai_api_key": "injected"})
        before = await (await running.get("/signing-key")).json()
        for _ in range(2):
            await running.post("/v1/chat/completions", CHAT)
        assert TWO_ANSWERS in await (await running.get("/metrics")).text()
        first, second = running.workers()
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while len(workers := running.workers()) < 2 or first in workers:
                await asyncio.sleep(0.05)
        assert second in workers
        await asyncio.sleep(1.0)
        assert TWO_ANSWERS in await (await running.get("/metrics")).text(), "what the lost worker counted stays"
        assert "gateway_workers_lost_total 1.0" in await (await running.get("/metrics")).text()
        for _ in range(6):
            assert await (await running.get("/signing-key")).json() == before
            assert (await running.post("/v1/chat/completions", CHAT)).status == 200
        assert (await running.post("/v1/keys", {})).status == 409


async def test_drain_waits_for_streams_of_all_workers(fleet: Fleet) -> None:
    for _ in range(4):
        fleet.openai.enqueue(Scenario(text="one two three four five six", event_delay=0.1))
    async with gateway(**fleet.environment()) as running, aiohttp.ClientSession() as session:
        streams = [
            await session.post(running.url + "/v1/chat/completions", json={**CHAT, "stream": True}) for _ in range(4)
        ]
        running.process.terminate()
        await asyncio.sleep(0.2)
        for _ in range(4):
            assert (await running.get("/health/ready")).status == 503
            assert (await running.post("/v1/chat/completions", CHAT)).status == 503
        bodies = [await stream.read() for stream in streams]
        assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
        assert await running.process.wait() == 0


async def answers(running: GatewayProcess) -> bool:
    try:
        return (await running.get("/health")).status == 200
    except aiohttp.ClientConnectionError:
        return False


async def test_nobody_is_kept_waiting_by_workers_that_have_drained(fleet: Fleet) -> None:
    """The worker without a stream exits first; later requests are served by the other, and by none after that."""
    fleet.openai.enqueue(Scenario(text="one two three four five six seven eight nine ten", event_delay=0.2))
    async with gateway(**fleet.environment()) as running, aiohttp.ClientSession() as session:
        stream = await session.post(running.url + "/v1/chat/completions", json={**CHAT, "stream": True})
        running.process.terminate()
        await until(lambda: len(running.workers()) <= 1)
        for _ in range(4):
            assert (await running.get("/health/ready")).status == 503
        assert "gateway_workers_lost_total 0.0" in await (await running.get("/metrics")).text()
        assert (await stream.read()).endswith(b"data: [DONE]\n\n")
        async with asyncio.timeout(10):
            while await answers(running):
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_setting_that_no_worker_can_start_with(tmp_path: Path, workers: str) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    journal = tmp_path / "file" / "journal.sqlite3"
    environment = {
        "GATEWAY_PAYMENTS": "required",
        "EVM_PAYMENT_ADDRESS": "0x" + "1" * 40,
        "FACILITATOR_URL": "http://127.0.0.1:9",
        "GATEWAY_JOURNAL": str(journal),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        env={
            **os.environ,
            "API_SERVER_HOST": "127.0.0.1",
            "API_SERVER_PORT": "0",
            "GATEWAY_WORKERS": workers,
            **environment,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        _, told = await process.communicate()
    assert process.returncode == 1
    last = told.decode().splitlines()[-1]
    assert last.startswith("gateway: cannot start: journal ")
    assert str(journal.parent) in last
    assert b"Traceback" not in told
