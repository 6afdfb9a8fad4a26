"""The worker's side of the channel: calls, a full channel, and a process without a descriptor for a connection."""

import asyncio
import logging
import os
import resource
import socket

import pytest

from gateway.workers.channel import Packet, channel_pair, receive, send
from gateway.workers.link import SupervisorGoneError, SupervisorLink
from tests.waiting import run_ready_tasks, until


async def test_a_connection_that_finds_no_free_descriptor_is_reported_and_answers_no_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The kernel closes such a connection. A reply to it once counted as one to the call of the listener's number."""
    supervisor, worker = channel_pair()
    connections: list[socket.socket] = []
    link = SupervisorLink(worker, lambda _, connection: connections.append(connection))
    left, right = socket.socketpair()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    send(supervisor, Packet("connection", 1), right)
    lowest_free = os.dup(left.fileno())
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with caplog.at_level(logging.ERROR):
            await until(lambda: "a connection was lost" in caplog.text)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for _ in range(3):
        await asyncio.sleep(0)
    assert receive(supervisor) is None
    send(supervisor, Packet("connection", 1), right)
    while not connections:
        await asyncio.sleep(0)
    assert connections[0].gettimeout() == 0
    link.close()
    for end in (supervisor, worker, left, right, *connections):
        end.close()


async def test_a_call_ends_with_its_reply_or_with_the_supervisor() -> None:
    supervisor, worker = channel_pair()
    link = SupervisorLink(worker, lambda _, connection: connection.close())
    left, first, second = [asyncio.create_task(link.call("metrics")) for _ in range(3)]
    await run_ready_tasks()
    numbers = [packet.number for packet, _ in iter(lambda: receive(supervisor), None)]
    assert len(set(numbers)) == 3
    left.cancel()
    send(supervisor, Packet("reply", numbers[2], "told"))
    assert await asyncio.wait_for(second, 5) == "told"
    supervisor.close()
    for call in (first, link.call("metrics")):
        with pytest.raises(SupervisorGoneError):
            await asyncio.wait_for(call, 5)
    assert link.gone.is_set()
    worker.close()


async def test_what_it_is_called_for_ends_when_it_is_closed() -> None:
    supervisor, worker = channel_pair()
    link = SupervisorLink(worker, lambda _, connection: connection.close())
    started, ended = asyncio.Event(), asyncio.Event()

    async def endless(_: object) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    link.handlers["metrics"] = endless
    send(supervisor, Packet("metrics", 1))
    await asyncio.wait_for(started.wait(), 5)
    link.close()
    await asyncio.wait_for(ended.wait(), 5)
    supervisor.close()
    worker.close()


async def test_what_a_full_channel_does_not_take_is_sent_in_order_once_the_supervisor_reads_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To encode and try each packet every 20 ms would keep a worker with a thousand of them busy."""
    supervisor, worker = channel_pair()
    sent = 0

    def count(end: socket.socket, packet: Packet) -> bool:
        nonlocal sent
        sent += 1
        return send(end, packet)

    link = SupervisorLink(worker, lambda _, connection: connection.close())
    monkeypatch.setattr("gateway.workers.link.send", count)
    for number in range(200):
        link.publish("signature", [number, "long" * 25_000])
    await asyncio.sleep(0.1)
    assert sent < 50
    assert receive(supervisor) is not None
    link.publish("signature", [200, ""])
    numbers: list[int] = []

    def read_all() -> bool:
        while (received := receive(supervisor)) is not None:
            numbers.append(received[0].body[0])
        return len(numbers) == 200

    await until(read_all)
    assert numbers == list(range(1, 201))
    link.close()
    supervisor.close()
    worker.close()
