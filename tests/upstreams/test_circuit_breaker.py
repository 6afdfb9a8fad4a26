"""The circuit breaker opens for a model that is down, never for another model's failure or a caller's mistake."""

import asyncio

import pytest

from gateway.openai_api.errors import (
    GatewayError,
    invalid_request,
    rate_limited,
    upstream_error,
    upstream_overloaded,
    upstream_timeout,
)
from gateway.upstreams.circuit_breaker import CircuitBreaker
from tests.clocks import Clock
from tests.running_gateway import RunningGateway
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario

DOWN = [
    upstream_error("upstream_unreachable"),
    upstream_timeout(),
    upstream_overloaded(),
    upstream_error("upstream_error"),
]
ALIVE = [
    invalid_request("no"),
    rate_limited(5),
    upstream_error("upstream_auth_failed"),
    upstream_error("upstream_billing"),
]


def fail(breaker: CircuitBreaker, error: BaseException | None, times: int = 1) -> None:
    for _ in range(times):
        breaker.acquire()
        breaker.release(error)


@pytest.mark.parametrize("error", DOWN)
def test_opens_for_a_vendor_that_is_down(error: GatewayError) -> None:
    breaker = CircuitBreaker(threshold=3, cooldown=5, clock=Clock(100.0))
    states = []
    for _ in range(3):
        fail(breaker, error)
        states.append(breaker.open)
    assert states == [False, False, True]
    with pytest.raises(GatewayError) as refused:
        breaker.acquire()
    assert (refused.value.status, refused.value.retry_after, refused.value.retryable) == (503, 5.0, False)


@pytest.mark.parametrize("error", [*ALIVE, None])
def test_a_sign_of_life_closes(error: GatewayError | None) -> None:
    breaker = CircuitBreaker(threshold=3, clock=Clock(100.0))
    fail(breaker, DOWN[0], 2)
    fail(breaker, error)
    fail(breaker, DOWN[0], 2)
    assert not breaker.open


def test_cancelled_calls_say_nothing() -> None:
    breaker = CircuitBreaker(threshold=1, clock=Clock(100.0))
    fail(breaker, asyncio.CancelledError(), 5)
    assert not breaker.open


@pytest.mark.parametrize("recovers", [True, False])
def test_one_probe_after_the_pause(recovers: bool) -> None:
    clock = Clock(100.0)
    breaker = CircuitBreaker(threshold=1, cooldown=5, clock=clock)
    fail(breaker, DOWN[0])
    clock.now += 5
    breaker.acquire()
    with pytest.raises(GatewayError):
        breaker.acquire()
    breaker.release(None if recovers else DOWN[0])
    assert breaker.open is not recovers
    if not recovers:
        with pytest.raises(GatewayError):
            breaker.acquire()


def test_calls_from_before_make_no_room_for_a_second_probe() -> None:
    clock = Clock(100.0)
    breaker = CircuitBreaker(threshold=1, cooldown=5, clock=clock)
    assert [breaker.acquire() for _ in range(3)] == [False] * 3
    breaker.release(DOWN[0])
    clock.now += 5
    assert breaker.acquire()
    breaker.release(asyncio.CancelledError())
    with pytest.raises(GatewayError):
        breaker.acquire()


def test_a_probe_without_an_answer_is_not_the_last() -> None:
    clock = Clock(100.0)
    breaker = CircuitBreaker(threshold=1, cooldown=5, clock=clock)
    fail(breaker, DOWN[0])
    for _ in range(3):
        clock.now += 5
        assert breaker.acquire()
        with pytest.raises(GatewayError) as refused:
            breaker.acquire()
        assert refused.value.retry_after == 5.0
    breaker.release(None)
    assert not breaker.acquire()


def test_a_cancelled_probe_leaves_its_turn_to_the_next_call() -> None:
    clock = Clock(100.0)
    breaker = CircuitBreaker(threshold=1, cooldown=5, clock=clock)
    fail(breaker, DOWN[0])
    clock.now += 5
    breaker.release(asyncio.CancelledError(), probe=breaker.acquire())
    assert breaker.acquire()


def test_one_that_nobody_asks_is_not_in_use() -> None:
    """Otherwise a model that was down when last called would be reported for as long as the gateway runs."""
    clock = Clock(100.0)
    breaker = CircuitBreaker(threshold=1, cooldown=5, clock=clock)
    states = [(breaker.open, breaker.active)]
    fail(breaker, DOWN[0])
    for seconds in (9, 2):
        clock.now += seconds
        states.append((breaker.open, breaker.active))
    assert states == [(False, False), (True, True), (True, False)]


async def test_one_caller_who_tries_every_failure_does_not_close_a_model(gateway: RunningGateway, fleet: Fleet) -> None:
    for error in ("overloaded", "server_error", "timeout") * 4:
        fleet.openai.default = Scenario(error=error)
        assert (await gateway.chat("gpt-4.1", "Hi")).status in (502, 503, 504)
    fleet.openai.default = Scenario()
    assert (await gateway.chat("gpt-4.1", "Hi")).status == 200


async def test_callers_of_a_dead_vendor_hear_so_at_once(gateway: RunningGateway, fleet: Fleet) -> None:
    gateway.services.upstreams["openai"].breakers["gpt-4.1"] = CircuitBreaker(threshold=2, cooldown=0.2)
    for _ in range(6):
        fleet.openai.enqueue(Scenario(error="server_error"))
    assert [(await gateway.chat("gpt-4.1", "Hi")).status for _ in range(2)] == [502, 502]
    refused = await gateway.chat("gpt-4.1", "Hi")
    assert (refused.status, len(fleet.openai.requests)) == (503, 6)
    assert (await gateway.chat("grok-4.3", "Hi")).status == 200
    await asyncio.sleep(0.25)
    assert (await gateway.chat("gpt-4.1", "Hi")).status == 200


async def test_a_model_that_is_down_takes_no_other_with_it(gateway: RunningGateway, fleet: Fleet) -> None:
    gateway.services.upstreams["openai"].breakers["gpt-4.1"] = CircuitBreaker(threshold=2)
    fleet.openai.default = Scenario(error="overloaded")
    assert {(await gateway.chat("gpt-4.1", "Hi")).status for _ in range(2)} == {503}
    async with gateway.session.get(gateway.url + "/metrics") as metrics:
        assert 'gateway_upstream_breaker_open{upstream="openai"} 1.0' in await metrics.text()
    asked = fleet.openai.request_count
    fleet.openai.default = Scenario(text="alive")
    assert (await gateway.chat("gpt-4.1", "Hi")).status == 503
    assert fleet.openai.request_count == asked
    assert (await gateway.chat("gpt-5", "Hi")).status == 200


async def test_a_bad_key_never_opens_it(gateway: RunningGateway, fleet: Fleet) -> None:
    gateway.services.upstreams["openai"].breakers["gpt-4.1"] = CircuitBreaker(threshold=1)
    for _ in range(3):
        fleet.openai.enqueue(Scenario(error="bad_key"))
        assert (await gateway.chat("gpt-4.1", "Hi")).status == 502
    assert (await gateway.chat("gpt-4.1", "Hi")).status == 200
