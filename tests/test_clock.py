"""The clock: synchronised to a source, with a bound on its error, never going backwards."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO

import aiohttp
import pytest

from gateway import clock as clock_module
from gateway.catalog import Catalog
from gateway.clock import TOLERANCE_SECONDS, Clock
from gateway.composition import compose
from gateway.endpoints.request_body import UNPAID_BODY_BYTES
from gateway.identity import Identity
from gateway.listeners import Audience, Listener
from gateway.nsm import NsmError
from gateway.server import GatewayServer
from gateway.settings import Settings
from gateway.signing import Signer
from tests.running_gateway import RunningGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet

TRUE_TIME = 1_800_000_000.0


class Hypervisor:
    """True time, a monotonic clock that may drift from it, and calls that take time or fail."""

    def __init__(self) -> None:
        self.true = TRUE_TIME
        self.monotonic = 5_000.0
        self.system = TRUE_TIME + 3600
        self.call_seconds = 0.0
        self.fails = False
        self.threads: list[int] = []

    def pass_time(self, seconds: float, drift: float = 0.0) -> None:
        self.true += seconds
        self.monotonic += seconds * (1 + drift)

    def told(self) -> float:
        self.threads.append(threading.get_ident())
        self.pass_time(self.call_seconds / 2)
        told = self.true
        self.pass_time(self.call_seconds / 2)
        if self.fails:
            raise NsmError("no answer")
        return told

    def clock(self) -> Clock:
        return Clock(self.told, system=lambda: self.system, monotonic=lambda: self.monotonic)


async def test_without_a_source_it_is_the_system_clock() -> None:
    now = 1_700_000_000.9
    clock = Clock(system=lambda: now)
    async with clock.synchronized():
        assert clock() == 1_700_000_000
        assert (clock.uncertainty, clock.skew, clock.reasons()) == (0.0, 0.0, [])


async def test_a_system_clock_that_was_wrong_and_is_set_right_is_followed() -> None:
    """A year ahead for a moment, it once refused every payment as expired until the process was restarted."""
    readings = {
        TRUE_TIME + 31_536_000: TRUE_TIME + 31_536_000,
        TRUE_TIME + 1: TRUE_TIME + 1,
        TRUE_TIME + 1 - TOLERANCE_SECONDS: TRUE_TIME + 1,
        TRUE_TIME - TOLERANCE_SECONDS: TRUE_TIME - TOLERANCE_SECONDS,
    }
    system = iter(readings)
    clock = Clock(system=lambda: next(system))
    assert [clock() for _ in readings] == [*readings.values()]


async def test_a_wrong_system_clock_does_not_matter() -> None:
    hypervisor = Hypervisor()
    clock = hypervisor.clock()
    await clock.sync()
    hypervisor.pass_time(60)
    assert clock() == TRUE_TIME + 60
    assert clock.skew == pytest.approx(3540)
    assert clock.reasons() == []
    assert hypervisor.threads != [threading.get_ident()]


async def test_half_the_duration_of_the_call_is_uncertain() -> None:
    hypervisor = Hypervisor()
    hypervisor.call_seconds = 4.0
    clock = hypervisor.clock()
    await clock.sync()
    assert clock.uncertainty == pytest.approx(2.0)
    assert clock() == int(hypervisor.true)
    hypervisor.call_seconds = 40.0
    await clock.sync()
    assert clock.uncertainty < 2.1, "a slow answer must not replace a better one"
    hypervisor.call_seconds = 3.0
    await clock.sync()
    assert clock.uncertainty == pytest.approx(1.5)


async def test_before_the_source_has_answered_nothing_may_be_paid() -> None:
    hypervisor = Hypervisor()
    hypervisor.fails = True
    clock = hypervisor.clock()
    with pytest.raises(NsmError):
        await clock.sync()
    [reason] = clock.reasons()
    assert "NSM" in reason
    hypervisor.fails = False
    await clock.sync()
    assert clock.reasons() == []


async def test_a_lost_source_is_borne_until_the_drift_may_matter() -> None:
    hypervisor = Hypervisor()
    clock = hypervisor.clock()
    await clock.sync()
    hypervisor.pass_time(12 * 3600, drift=100e-6)
    assert abs(clock() - hypervisor.true) < TOLERANCE_SECONDS
    assert clock.reasons() == []
    hypervisor.pass_time(12 * 3600)
    assert clock.reasons() == ["the clock may be off by more than 30 s"]
    await clock.sync()
    assert clock.reasons() == []


async def test_it_stands_still_rather_than_going_backwards() -> None:
    hypervisor = Hypervisor()
    clock = hypervisor.clock()
    await clock.sync()
    hypervisor.monotonic += 20
    ahead = clock()
    assert ahead == TRUE_TIME + 20
    await clock.sync()
    assert clock() == ahead
    assert clock.uncertainty == pytest.approx(20)
    hypervisor.pass_time(25)
    assert clock() == TRUE_TIME + 25
    assert clock.uncertainty < 1


async def test_standing_still_for_too_long_is_a_reason() -> None:
    hypervisor = Hypervisor()
    clock = hypervisor.clock()
    await clock.sync()
    hypervisor.monotonic += 31
    clock()
    await clock.sync()
    assert clock.reasons() == ["the clock may be off by more than 30 s"]


async def test_a_wrong_system_clock_is_no_floor_for_the_right_time() -> None:
    hypervisor = Hypervisor()
    clock = hypervisor.clock()
    assert clock() == hypervisor.system
    await clock.sync()
    assert clock() == TRUE_TIME


async def test_it_is_asked_again_and_sooner_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hypervisor = Hypervisor()
    hypervisor.fails = True
    clock = hypervisor.clock()
    monkeypatch.setattr(clock_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(clock_module, "SYNC_SECONDS", 0.02)
    with caplog.at_level(logging.WARNING):
        async with clock.synchronized():
            assert clock.reasons()
            hypervisor.fails = False
            await until(lambda: not clock.reasons())
            asked = len(hypervisor.threads)
            await until(lambda: len(hypervisor.threads) >= asked + 2)
    assert "the NSM does not return the time: no answer" in caplog.text
    asked = len(hypervisor.threads)
    await asyncio.sleep(0.05)
    assert len(hypervisor.threads) == asked


async def test_synchronization_outlives_an_unexpected_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(clock_module, "RETRY_SECONDS", 0.0)
    failures = [MemoryError(), RuntimeError("can't start new thread")]

    def source() -> float:
        if failures:
            raise failures.pop()
        return TRUE_TIME

    clock = Clock(source)
    async with clock.synchronized():
        await until(lambda: not clock.reasons())
        failures.append(MemoryError())  # not before the next time, minutes later
        await asyncio.sleep(0.02)
    assert caplog.text.count("the NSM does not return the time") == 2
    assert "MemoryError" in caplog.text


@asynccontextmanager
async def served(
    clock: Clock, signer: Signer, catalog: Catalog, environment: dict[str, str]
) -> AsyncIterator[RunningGateway]:
    variables = {"API_SERVER_HOST": "127.0.0.1", **environment}
    settings = Settings.from_environment(variables, catalog.providers, enclave=False)
    async with (
        compose(settings, catalog=catalog, identity=Identity.generate(signer), clock=clock) as services,
        aiohttp.ClientSession() as session,
    ):
        server = GatewayServer(services)
        [(host, port)] = await server.start([Listener("127.0.0.1", 0, Audience.LOCAL)])
        yield RunningGateway(f"http://{host}:{port}", services, session, server)
        await server.drain(1.0)


async def test_no_heartbeat_is_signed_by_a_clock_without_its_source(signer: Signer, catalog: Catalog) -> None:
    def no_answer() -> float:
        raise NsmError("no answer")

    async with served(Clock(no_answer), signer, catalog, {"GATEWAY_PAYMENTS": "off"}) as gateway:
        assert gateway.services.clock.reasons()
        assert gateway.services.heartbeat._clock_reasons() == gateway.services.clock.reasons()


async def test_a_source_that_hangs_is_not_asked_twice_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "SYNC_TIMEOUT_SECONDS", 0.02)
    monkeypatch.setattr(clock_module, "RETRY_SECONDS", 0.01)
    answered = threading.Event()
    asked: list[float] = []

    def hang() -> float:
        asked.append(1)
        answered.wait(5)
        return TRUE_TIME

    clock = Clock(hang, monotonic=lambda: 0.0)
    async with clock.synchronized():
        await asyncio.sleep(0.2)
        assert len(asked) == 1
        assert clock.reasons()
        answered.set()
        await until(lambda: not clock.reasons())


async def large_body(gateway: RunningGateway) -> aiohttp.ClientResponse:
    """The response to a request that is too large to be read without a payment."""
    body = BytesIO(bytes(UNPAID_BODY_BYTES + 1))
    return await gateway.session.post(
        gateway.url + "/v1/chat/completions", data=body, headers={"Content-Type": "application/json"}
    )


async def test_paid_routes_stop_with_the_clock(signer: Signer, catalog: Catalog) -> None:
    hypervisor = Hypervisor()
    reason = "the clock may be off by more than 30 s"
    async with served(hypervisor.clock(), signer, catalog, {"OPENAI_API_KEY": "k"}) as gateway:
        hypervisor.pass_time(24 * 3600)
        async with gateway.session.get(gateway.url + "/health/ready") as response:
            assert response.status == 503
            assert reason in (await response.json())["reasons"]
        for refused in (await gateway.chat("gpt-4.1", "Hi"), await large_body(gateway)):
            assert refused.status == 503
            assert reason in (await refused.json())["error"]["message"]
        async with gateway.session.get(gateway.url + "/metrics") as response:
            assert "gateway_clock_uncertainty_seconds 43.2" in await response.text()
        await gateway.services.clock.sync()
        async with gateway.session.get(gateway.url + "/health/ready") as response:
            assert reason not in (await response.json())["reasons"]
        assert "FACILITATOR_URL is not set" in (await (await large_body(gateway)).json())["error"]["message"]


async def test_signatures_tell_the_time_of_the_clock(fleet: Fleet, signer: Signer, catalog: Catalog) -> None:
    environment = {**fleet.environment(), "GATEWAY_PAYMENTS": "off"}
    async with served(Hypervisor().clock(), signer, catalog, environment) as gateway:
        answer = await (await gateway.chat("gpt-4.1", "Hi")).json()
    assert answer["tee_timestamp"] == TRUE_TIME
