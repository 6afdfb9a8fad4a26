"""Draining: readiness flips, running requests may finish, and those that do not finish get an error."""

import asyncio

import aiohttp
import pytest

from gateway.services import Services
from tests.event_streams import events
from tests.recording_payments import RecordingPayments
from tests.running_gateway import CHAT, RunningGateway, StartGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario

STREAM = {**CHAT, "stream": True}


async def open_stream(gateway: RunningGateway) -> aiohttp.ClientResponse:
    """A stream whose first event has arrived."""
    response = await gateway.session.post(gateway.url + "/v1/chat/completions", json=STREAM)
    await response.content.readline()
    return response


async def test_streams_finish_while_new_work_is_refused(fleet: Fleet, gateway: RunningGateway) -> None:
    fleet.openai.enqueue(Scenario(text="one two three four", event_delay=0.1))
    response = await open_stream(gateway)
    idle = aiohttp.ClientSession()
    async with idle, idle.get(gateway.url + "/health"):
        draining = asyncio.create_task(gateway.server.drain(5))
        await asyncio.sleep(0.05)
        async with aiohttp.ClientSession() as newcomer:
            for session in (idle, newcomer):
                async with session.get(gateway.url + "/health/ready") as ready:
                    assert ready.status == 503
                    assert "draining" in (await ready.json())["reasons"]
            async with newcomer.post(gateway.url + "/v1/chat/completions", json=STREAM) as refused:
                assert (refused.status, refused.headers["x-should-retry"]) == (503, "true")
                assert refused.headers["Retry-After"] == "1"
                assert (await refused.json())["error"]["code"] == "draining"
    assert b"[DONE]" in await response.read()
    response.close()
    await draining
    with pytest.raises(aiohttp.ClientConnectionError):
        await gateway.session.get(gateway.url + "/health")


async def test_streams_past_the_limit_get_an_error_event(fleet: Fleet, gateway: RunningGateway) -> None:
    fleet.openai.enqueue(Scenario(text="one two three four", stall_after=2))
    response = await open_stream(gateway)
    draining = asyncio.create_task(gateway.server.drain(0.2))
    received = b""
    try:
        async for piece in response.content.iter_any():
            received += piece
        broken = False
    except aiohttp.ClientPayloadError:
        broken = True
    response.close()
    await draining
    assert gateway.services.admission.active == 0
    await until(lambda: fleet.openai.requests[-1].aborted_at is not None)
    assert events(received)[-1]["error"]["code"] == "draining"
    assert b"[DONE]" not in received
    assert broken


@pytest.mark.parametrize("model", ["gpt-4.1", "gemini-2.5-flash"])
async def test_what_was_delivered_of_a_stream_past_the_limit_is_charged(
    fleet: Fleet, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Also where the vendor bills a closed stream in full, and its usage would have been awaited."""
    monkeypatch.setattr("gateway.server.DRAIN_GRACE_SECONDS", 1.0)
    payments = RecordingPayments()

    gateway = await start_gateway(fleet.environment(), payments=payments)
    simulator = fleet.openai if model == "gpt-4.1" else fleet.google
    simulator.enqueue(Scenario(text="one two three four", stall_after=3))
    response = await gateway.session.post(gateway.url + "/v1/chat/completions", json={**STREAM, "model": model})
    await response.content.readline()
    await gateway.server.drain(0.2)
    response.close()
    [bill] = payments.bills
    assert payments.released == []
    assert bill.usage.completion_tokens > 0


@pytest.mark.parametrize("slow", [Scenario(first_byte_delay=5), Scenario(stall_after=0)], ids=["headers", "body"])
async def test_complete_answers_past_the_limit_get_an_error_that_blames_the_gateway(
    fleet: Fleet, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, slow: Scenario
) -> None:
    """Some vendors send the headers before they have an answer."""
    monkeypatch.setattr("gateway.server.DRAIN_GRACE_SECONDS", 0.2)
    fleet.openai.enqueue(slow)
    answer = asyncio.create_task(gateway.chat("gpt-4.1", "hello"))
    await until(lambda: bool(fleet.openai.requests))
    await gateway.server.drain(0.1)
    refused = await answer
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert (await refused.json())["error"]["code"] == "draining"
    assert len(fleet.openai.requests) == 1


async def test_admission_queue(fleet: Fleet, start_gateway: StartGateway) -> None:
    """Two places: one request runs, one waits, the third is rejected with Retry-After; then the queue advances."""
    environment = {**fleet.environment(), "GATEWAY_MAX_INFLIGHT": "1", "GATEWAY_QUEUE": "1"}
    gateway = await start_gateway(environment)
    for _ in range(2):
        fleet.openai.enqueue(Scenario(text="slow", first_byte_delay=0.3))
    first = asyncio.create_task(gateway.chat("gpt-4.1", "1"))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(gateway.chat("gpt-4.1", "2"))
    await asyncio.sleep(0.05)
    third = await gateway.chat("gpt-4.1", "3")
    assert third.status == 503
    assert third.headers["Retry-After"] == "1"
    assert (await third.json())["error"]["code"] == "overloaded"
    assert ((await first).status, (await second).status) == (200, 200)
    services: Services = gateway.services
    assert services.admission.active == services.admission.waiting == 0
    assert (await gateway.chat("gpt-4.1", "4")).status == 200
