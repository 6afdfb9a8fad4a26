"""A gateway at its concurrency limit: order of service, rejection with Retry-After, and what a slow vendor may hold."""

import asyncio
import base64
import json

import aiohttp
import pytest

from tests.running_gateway import RunningGateway, StartGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario


@pytest.fixture
async def narrow(fleet: Fleet, start_gateway: StartGateway) -> RunningGateway:
    """A gateway with one place, a queue of six, and a vendor that is slow for the first request."""
    fleet.openai.enqueue(Scenario(text="slow", first_byte_delay=0.6))
    gateway = await start_gateway({**fleet.environment(), "GATEWAY_MAX_INFLIGHT": "1", "GATEWAY_QUEUE": "6"})
    gateway.fleet = fleet
    return gateway


class ConcurrentRequests:
    """Concurrent requests, and the order in which they are answered."""

    def __init__(self, gateway: RunningGateway) -> None:
        self._gateway = gateway
        self._tasks: list[asyncio.Task[None]] = []
        self.answered: list[str] = []
        self.responses: dict[str, aiohttp.ClientResponse] = {}

    async def send(self, name: str, model: str = "gpt-4.1", **headers: str) -> None:
        self._tasks.append(asyncio.create_task(self._ask(name, model, headers)))
        await asyncio.sleep(0.02)

    async def finish(self) -> list[str]:
        await asyncio.gather(*self._tasks)
        return self.answered

    async def _ask(self, name: str, model: str, headers: dict[str, str]) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": name}]}
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        self.responses[name] = await self._gateway.post("/v1/chat/completions", body, headers=sent)
        self.answered.append(name)


def payment(payer: str, *, permit2: bool = False) -> str:
    """A PAYMENT-SIGNATURE header that names ``payer`` and would fail verification."""
    kind = "permit2Authorization" if permit2 else "authorization"
    payload = {"x402Version": 2, "payload": {"signature": "0x", kind: {"from": payer}}, "accepted": {}}
    return base64.b64encode(json.dumps(payload).encode()).decode()


async def test_callers_take_turns(narrow: RunningGateway) -> None:
    requests = ConcurrentRequests(narrow)
    for name in ("a0", "a1", "a2", "a3", "b1", "c1"):
        await requests.send(name, Authorization=f"Bearer {name[0]}")
    assert await requests.finish() == ["a0", "a1", "b1", "c1", "a2", "a3"]


async def test_payers_take_turns(narrow: RunningGateway) -> None:
    requests = ConcurrentRequests(narrow)
    await requests.send("0")
    for name in ("a1", "a2", "B1", "A3"):
        await requests.send(name, PAYMENT_SIGNATURE=payment("0x" + name[0] * 40, permit2=name == "a2"))
    assert await requests.finish() == ["0", "a1", "B1", "a2", "A3"]


async def test_addresses_behind_the_proxy_take_turns_however_many_callers_they_make_up(
    narrow: RunningGateway,
) -> None:
    """The proxy's own entry is the last one; earlier entries are the client's claim."""
    requests = ConcurrentRequests(narrow)
    for number, name in enumerate(("a0", "a1", "a2", "a3", "b1", "b2")):
        forwarded = f"198.51.100.{number}, 203.0.113.{ord(name[0])}"
        await requests.send(name, Authorization=f"Bearer {number}", X_Forwarded_For=forwarded)
    assert await requests.finish() == ["a0", "a1", "b1", "a2", "b2", "a3"]


async def test_payments_that_cannot_be_read_wait_like_everybody(narrow: RunningGateway) -> None:
    requests = ConcurrentRequests(narrow)
    await requests.send("0")
    for header in ("!", "e30=", "bnVsbA==", payment("0x1")[:-8], "W10=", "A" * 20_000):
        await requests.send(header[:8], PAYMENT_SIGNATURE=header)
    await requests.finish()
    assert [answer.status for answer in requests.responses.values()] == [200] * 7


async def test_a_crowd_makes_room_for_somebody_else(narrow: RunningGateway) -> None:
    requests = ConcurrentRequests(narrow)
    for number in range(8):
        await requests.send(f"a{number}", Authorization="Bearer a")
    assert [(name, answer.status) for name, answer in requests.responses.items()] == [("a7", 503)]
    await requests.send("b0", Authorization="Bearer b")
    answered = await requests.finish()
    assert {name for name, answer in requests.responses.items() if answer.status == 503} == {"a7", "a6"}
    assert requests.responses["a6"].headers["Retry-After"] == "1"
    served = [name for name in answered if requests.responses[name].status == 200]
    assert served == ["a0", "a1", "b0", "a2", "a3", "a4", "a5"]


async def test_a_slow_vendor_leaves_places_to_the_others(fleet: Fleet, start_gateway: StartGateway) -> None:
    gateway = await start_gateway({**fleet.environment(), "GATEWAY_MAX_INFLIGHT": "4", "GATEWAY_QUEUE": "20"})
    assert (await gateway.chat("claude-sonnet-4-5", "Hi")).status == 200
    fleet.openai.default = Scenario(text="slow", first_byte_delay=2.0)
    slow = [asyncio.create_task(gateway.chat("gpt-4.1", str(number))) for number in range(6)]
    await until(lambda: gateway.services.admission.waiting == 3)
    assert gateway.services.admission.active == 3
    for _ in range(5):
        assert (await gateway.chat("claude-sonnet-4-5", "Hi")).status == 200
    assert not any(task.done() for task in slow)
    assert {(await task).status for task in slow} == {200}
    assert gateway.services.admission.active == 0


async def test_refusals_are_not_charged_nor_sent_on(narrow: RunningGateway) -> None:
    assert narrow.fleet is not None
    requests = ConcurrentRequests(narrow)
    for number in range(10):
        await requests.send(str(number))
    await requests.finish()
    statuses = [answer.status for answer in requests.responses.values()]
    assert (statuses.count(200), statuses.count(503)) == (7, 3)
    assert narrow.fleet.openai.request_count == 7
