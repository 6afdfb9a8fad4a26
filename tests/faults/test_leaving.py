"""Clients that disconnect at awkward moments: settled or released exactly once, and no resource leaks."""

import asyncio
import gc
import socket
from dataclasses import replace
from random import Random

import pytest
from aiohttp import web

from gateway.billing.payment import Order
from gateway.dispatch import Dispatch
from gateway.endpoints import early_status
from gateway.exchange import Exchange
from gateway.http_server.response import StreamingResponse
from gateway.upstreams.upstream import UpstreamResponse
from tests.running_gateway import CHAT, FAST, RunningGateway, StartGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario
from tools.soak.payments import Claim, SimulatedPayments
from tools.soak.raw_client import RawClient, chat_request
from tools.soak.recorder import Recorder


class FreePayments(SimulatedPayments):
    """Never fails, never rejects, and sets no timeout."""

    def __init__(self) -> None:
        super().__init__(Random(1))

    async def admit(self, order: Order) -> Claim:
        claim = await super().admit(order)
        claim.timeout = None
        return claim

    async def round_trip(self) -> None:
        pass

    def happens(self, probability: float) -> bool:
        return False


@pytest.fixture
def payments() -> FreePayments:
    return FreePayments()


@pytest.fixture
async def paid(fleet: Fleet, start_gateway: StartGateway, payments: SimulatedPayments) -> RunningGateway:
    return await start_gateway(
        {**fleet.environment(), "GATEWAY_PAYMENTS": "required"}, payments=payments, limits=replace(FAST, max_attempts=1)
    )


async def ended(payments: SimulatedPayments) -> None:
    await until(lambda: payments.ends.total() >= payments.claims)
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("scenario", [Scenario(first_byte_delay=0.5), Scenario(error="bad_key", first_byte_delay=0.5)])
async def test_leaving_an_answer_that_is_kept_awake(
    paid: RunningGateway, fleet: Fleet, payments: SimulatedPayments, monkeypatch: pytest.MonkeyPatch, scenario: Scenario
) -> None:
    """The client disconnects while padding is written; the vendor's answer or error is still awaited."""
    monkeypatch.setattr(early_status, "EARLY_STATUS_SECONDS", 0.01)
    monkeypatch.setattr(early_status, "PADDING_SECONDS", 0.0001)
    recorder = Recorder()
    recorder.open()
    try:
        await asyncio.gather(*(_half_close(paid, fleet, scenario, 0.05 + number / 1000) for number in range(20)))
        await ended(payments)
    finally:
        recorder.close()
    assert not any(received.aborted_at for received in fleet.openai.requests)
    assert payments.ends == {"open → released": 20}
    assert recorder.problems == payments.problems() == []


@pytest.mark.parametrize("scenario", [Scenario(first_byte_delay=0.3), Scenario(error="bad_key", first_byte_delay=0.3)])
async def test_a_connection_that_closes_as_a_blank_is_written(
    paid: RunningGateway, fleet: Fleet, payments: SimulatedPayments, monkeypatch: pytest.MonkeyPatch, scenario: Scenario
) -> None:
    """Between closing and connection_lost, a write to the connection raises."""

    send = StreamingResponse.send

    def refuse(response: StreamingResponse, request: web.BaseRequest, data: bytes) -> None:
        if data == b" ":
            raise ConnectionResetError("the client has left")
        send(response, request, data)

    monkeypatch.setattr(early_status, "EARLY_STATUS_SECONDS", 0.01)
    monkeypatch.setattr(early_status, "PADDING_SECONDS", 0.05)
    monkeypatch.setattr(StreamingResponse, "send", refuse)
    recorder = Recorder()
    recorder.open()
    fleet.openai.enqueue(scenario)
    try:
        async with RawClient(paid.url) as client:
            await client.send(chat_request(CHAT))
            await client.read_all(0.6)
        await ended(payments)
    finally:
        recorder.close()
    assert recorder.problems == payments.problems() == []
    assert payments.ends == {"open → settled" if scenario.error is None else "open → released": 1}


async def _half_close(paid: RunningGateway, fleet: Fleet, scenario: Scenario, seconds: float) -> None:
    fleet.openai.enqueue(scenario)
    async with RawClient(paid.url) as client:
        await client.send(chat_request(CHAT))
        await asyncio.sleep(seconds)
        client.socket.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.1)


async def test_leaving_the_queue(fleet: Fleet, start_gateway: StartGateway, payments: SimulatedPayments) -> None:
    """A client that disconnects while queued is not served and does not delay others."""

    gateway = await start_gateway({**fleet.environment(), "GATEWAY_MAX_INFLIGHT": "1"}, payments=payments)
    fleet.openai.enqueue(Scenario(first_byte_delay=0.4))
    first = asyncio.create_task(gateway.chat("gpt-4.1", "first"))
    await asyncio.sleep(0.1)
    async with RawClient(gateway.url) as client:
        await client.send(chat_request(CHAT))
        await asyncio.sleep(0.1)
        assert gateway.services.admission.waiting == 1
    await asyncio.sleep(0.05)
    assert gateway.services.admission.waiting == 0
    assert (await first).status == 200
    assert (payments.claims, fleet.openai.request_count) == (1, 1)
    assert gateway.services.bodies._left == type(gateway.services.bodies)()._left


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.003, 0.01, 0.03])
@pytest.mark.parametrize("scenario", [Scenario(error="server_error"), Scenario(text="one two three")])
async def test_leaving_as_the_vendor_answers(
    paid: RunningGateway, fleet: Fleet, payments: SimulatedPayments, scenario: Scenario, delay: float
) -> None:
    recorder = Recorder()
    recorder.open()
    try:
        for step in range(10):
            fleet.openai.enqueue(replace(scenario, first_byte_delay=delay))
            async with RawClient(paid.url) as client:
                await client.send(chat_request({**CHAT, "stream": True}))
                await asyncio.sleep(delay + step / 2000)
        await asyncio.sleep(0.1)
        await ended(payments)
    finally:
        recorder.close()
    assert recorder.problems == payments.problems() == []
    assert paid.services.upstreams["openai"].transport.open_connections == 0


async def test_leaving_as_the_vendors_error_is_read(start_gateway: StartGateway) -> None:
    """The vendor stalls inside an error body: its connection is closed with the client's."""
    lost = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nthis is")
        while await reader.read(1000):
            pass
        lost.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gateway = await start_gateway({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"})
        transport = gateway.services.upstreams["openai"].transport
        gc.disable()
        try:
            async with RawClient(gateway.url) as client:
                await client.send(chat_request({**CHAT, "stream": True}))
                await asyncio.sleep(0.1)
                assert transport.open_connections == 1
            async with asyncio.timeout(2):
                await lost.wait()
            assert transport.open_connections == 0
        finally:
            gc.enable()


@pytest.mark.parametrize("model", ["gpt-4.1", "gemini-2.5-flash"])
async def test_nothing_is_remembered_of_streams_that_were_left(
    fleet: Fleet, gateway: RunningGateway, model: str
) -> None:
    """A timer or traceback that references a finished answer would keep all of its data alive."""
    for simulator in (fleet.openai, fleet.google):
        simulator.default = Scenario(text="word " * 20, event_delay=0.02)
    for _ in range(5):
        async with RawClient(gateway.url) as client:
            await client.send(chat_request({**CHAT, "model": model, "stream": True}))
            await client.read()
    await until(lambda: not gateway.services.admission.active)
    await asyncio.sleep(0.05)
    gc.collect()
    kept = [thing for thing in gc.get_objects() if isinstance(thing, UpstreamResponse | Dispatch | Exchange)]
    assert kept == []
