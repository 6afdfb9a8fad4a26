"""Clients that leave: what is still read, charged and released."""

import asyncio

import aiohttp
import pytest

import gateway.dispatch
from tests.recording_payments import RecordingPayments
from tests.running_gateway import CHAT, RunningGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario
from tools.simulators.simulator import Simulator

GEMINI = {**CHAT, "model": "gemini-2.5-flash"}


async def leave_after(gateway: RunningGateway, body: object, events: int) -> None:
    """Read some events of a stream and disconnect."""
    async with aiohttp.ClientSession() as session:
        response = await session.post(gateway.url + "/v1/chat/completions", json=body)
        for _ in range(events * 2):
            await response.content.readline()
        response.close()


async def leave_unanswered(gateway: RunningGateway, body: object, vendor: Simulator) -> None:
    """Disconnect once the vendor has the call."""
    asking = asyncio.create_task(gateway.post("/v1/chat/completions", body))
    await until(lambda: vendor.requests)
    asking.cancel()
    await asyncio.wait([asking])


async def test_leaving_a_stream_that_can_be_stopped(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet
) -> None:
    fleet.openai.enqueue(Scenario(text="word " * 100, event_delay=0.05))
    await leave_after(paid, {**CHAT, "stream": True}, events=3)
    await until(payments.ended.is_set)
    await until(lambda: fleet.openai.requests[-1].aborted_at is not None)
    [bill] = payments.bills
    assert bill.usage.estimated
    assert 0 < bill.usage.completion_tokens < 100
    await until(lambda: paid.services.upstreams["openai"].transport.open_connections == 0)


async def test_leaving_a_stream_that_cannot_be_stopped_drains_it(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet
) -> None:
    fleet.google.enqueue(Scenario(text="word " * 20, event_delay=0.02, completion_tokens=77))
    await leave_after(paid, {**GEMINI, "stream": True}, events=2)
    await until(payments.ended.is_set)
    assert fleet.google.requests[-1].aborted_at is None
    [bill] = payments.bills
    assert not bill.usage.estimated
    assert bill.usage.completion_tokens - bill.usage.reasoning_tokens == 77


async def test_draining_is_bounded(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.dispatch, "DRAIN_SECONDS", 0.1)
    fleet.google.enqueue(Scenario(text="word " * 200, event_delay=0.05))
    await leave_after(paid, {**GEMINI, "stream": True}, events=2)
    await until(payments.ended.is_set)
    await until(lambda: fleet.google.requests[-1].aborted_at is not None)
    assert len(payments.bills) == 1


async def test_leaving_before_the_first_byte_is_free(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet
) -> None:
    fleet.openai.enqueue(Scenario(first_byte_delay=0.3))
    await leave_unanswered(paid, {**CHAT, "stream": True}, fleet.openai)
    await until(payments.ended.is_set)
    assert (payments.bills, payments.released) == ([], ["client_left"])


@pytest.mark.parametrize("stops_billing", [True, False])
async def test_leaving_before_the_upstream_answers(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, stops_billing: bool
) -> None:
    """Where closing stops the bill, it also stops the call, answered or not."""
    simulator, body = (fleet.openai, CHAT) if stops_billing else (fleet.google, GEMINI)
    simulator.enqueue(Scenario(first_byte_delay=1.0))
    await leave_unanswered(paid, {**body, "stream": True}, simulator)
    await until(payments.ended.is_set)
    assert (payments.bills, payments.released) == ([], ["client_left"])
    [received] = simulator.requests
    await until(lambda: received.aborted_at if stops_billing else received.finished_at)


async def test_leaving_a_call_that_is_not_streamed(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet
) -> None:
    """The vendor bills it in full, so it is read to its end; the client, who received nothing, pays nothing."""
    fleet.openai.enqueue(Scenario(first_byte_delay=0.3))
    await leave_unanswered(paid, CHAT, fleet.openai)
    await until(payments.ended.is_set)
    assert fleet.openai.requests[-1].aborted_at is None
    assert (payments.bills, payments.released) == ([], ["client_left"])
