"""What a worker tells the others of the signatures that it caches, and its clients of the heartbeat."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.upstreams.signature_cache import SignatureCache
from gateway.workers.channel import Packet, channel_pair, receive, send
from gateway.workers.link import SupervisorLink
from gateway.workers.member import ClusterMember

CALL = ("0xpayer", "call_1", "weather", "{}")


@pytest.mark.parametrize(("size", "shared"), [(1_000, True), (100_000, True), (1_400_000, False)])
async def test_values_that_fit_between_processes_are_shared(size: int, shared: bool) -> None:
    caches = [SignatureCache(), SignatureCache()]
    channels = [channel_pair() for _ in caches]
    links = [SupervisorLink(worker, lambda _, connection: connection.close()) for _, worker in channels]
    for cache, link in zip(caches, links, strict=True):
        services: Any = SimpleNamespace(signatures=cache)
        ClusterMember(services, link)
    caches[0].put(*CALL, value="x" * size)
    received = receive(channels[0][0])
    assert (received is not None) is shared
    if received is not None:
        assert send(channels[1][0], Packet(received[0].op, body=received[0].body))
        while caches[1].get(*CALL) is None:
            await asyncio.sleep(0)
        assert caches[1].get(*CALL) == "x" * size
    for link in links:
        link.close()
    for ends in channels:
        for end in ends:
            end.close()


async def test_keys_of_one_value_are_sent_in_as_few_packets_as_have_room_for_them() -> None:
    cache = SignatureCache()
    supervisor, worker = channel_pair()
    link = SupervisorLink(worker, lambda _, connection: connection.close())
    services: Any = SimpleNamespace(signatures=cache)
    ClusterMember(services, link)
    cache.put_all("0xpayer", [(f"call_{number}", "weather", "{}") for number in range(2000)], "x" * 100_000)
    sent = [received[0].body for _ in range(2) if (received := receive(supervisor)) is not None]
    assert [len(set(body["keys"])) for body in sent] == [1024, 976]
    assert receive(supervisor) is None
    link.close()
    for end in (supervisor, worker):
        end.close()


@pytest.mark.parametrize(("reply", "told"), [({"total_sent": 5}, 5), (None, 0)])
async def test_the_heartbeats_status_is_the_leaders(reply: dict[str, int] | None, told: int) -> None:
    """Where nobody leads, the reply is None, and the worker's own status is told."""

    async def call(op: str) -> dict[str, int] | None:
        assert op == "leader"
        return reply

    heartbeat = SimpleNamespace(status=lambda: {"total_sent": 0})
    services: Any = SimpleNamespace(signatures=SignatureCache(), heartbeat=heartbeat)
    link: Any = SimpleNamespace(handlers={}, call=call)
    assert (await ClusterMember(services, link).heartbeat())["total_sent"] == told
