"""A facilitator whose load balancer was replaced: it knows none of the pooled connections."""

import asyncio

import msgspec
import pytest

from gateway.billing.facilitator import Facilitator, FacilitatorUnavailableError, connection_pool
from gateway.billing.x402 import ForwardedPayment
from tests.billing.harness import quick
from tests.upstreams.scripted_server import ScriptedServer, answering_once, http

PAYMENT = ForwardedPayment(
    x402_version=2, payload=msgspec.Raw(b'{"p":1}'), accepted=msgspec.Raw(b'{"network":"eip155:8453","amount":"9"}')
)
VALID = http(200, b'{"isValid":true,"payer":"0x1"}')
NUMBER = 4


async def test_a_verification_is_tried_again_on_a_new_connection() -> None:
    async with ScriptedServer([answering_once(VALID, NUMBER)]) as server:
        pool = connection_pool(server.url)
        facilitator = Facilitator(pool, quick())
        try:
            await asyncio.gather(*(facilitator.verify(PAYMENT) for _ in range(NUMBER)))
            assert (await facilitator.verify(PAYMENT)).is_valid
        finally:
            await pool.close()
    assert (server.connections, len(server.requests)) == (NUMBER + 1, NUMBER + 2)


async def test_a_facilitator_that_fails_is_asked_again_on_the_same_connection() -> None:
    """One that is overloaded would get a connection more for each payment, and keep them all."""
    async with ScriptedServer([http(503)]) as server:
        pool = connection_pool(server.url)
        try:
            for _ in range(NUMBER):
                with pytest.raises(FacilitatorUnavailableError):
                    await Facilitator(pool, quick()).verify(PAYMENT)
        finally:
            await pool.close()
    assert (server.connections, len(server.requests)) == (1, 2 * NUMBER)
