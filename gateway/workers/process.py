"""Starting a gateway of several workers, and being one of them."""

import asyncio
import logging
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway import garbage_collection
from gateway.composition import compose
from gateway.identity import Identity
from gateway.server import GatewayServer, Listener
from gateway.settings import Settings
from gateway.workers.link import Link
from gateway.workers.member import Member, take
from gateway.workers.supervisor import Supervisor

BACKLOG = 1024
log = logging.getLogger("gateway")


def bind(listeners: Sequence[Listener]) -> list[socket.socket]:
    """Listening sockets, in the order of ``listeners``; raises OSError."""
    bound = []
    for listener in listeners:
        family, _, _, _, address = socket.getaddrinfo(listener.host, listener.port, type=socket.SOCK_STREAM)[0]
        bound.append(socket.create_server(address[:2], family=family, backlog=BACKLOG))
    return bound


def supervisor(
    settings: Settings, identity: Identity, listeners: Sequence[Listener], sockets: Sequence[socket.socket]
) -> Supervisor:
    """The parent of ``settings.workers`` workers; inside an enclave its key must have been registered before."""
    share = _share(settings)

    def run_worker(channel: socket.socket, injected: Any) -> int:
        import uvloop

        uvloop.run(_work(share, identity, listeners, channel, injected))
        return 0

    return Supervisor(sockets, settings.workers, run_worker)


def _share(settings: Settings) -> Settings:
    """What one worker may have at work and waiting, so that all together stay within the operator's limits."""
    count = settings.workers
    return replace(settings, max_inflight=-(-settings.max_inflight // count), queue=-(-settings.queue // count))


async def _work(
    settings: Settings,
    identity: Identity,
    listeners: Sequence[Listener],
    channel: socket.socket,
    injected: Any,
) -> None:
    """Serve what the supervisor hands out until it says stop, or is no more."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with compose(settings, identity=identity) as services:
        services.tee_enabled = settings.enclave
        services.leads = False
        server = GatewayServer(services)
        link = Link(channel, await server.adopt([listener.audience for listener in listeners]))
        services.collective = Member(services, link)
        if injected is not None:
            await take(services, injected)
        garbage_collection.freeze()
        link.ready()
        await _first(stopped.wait(), link.gone.wait())
        link.leave()
        await services.heartbeat.stop()
        await server.drain(settings.drain_seconds, link.left)
        link.close()


async def _first(*waits: Any) -> None:
    """Until one of them is over."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
