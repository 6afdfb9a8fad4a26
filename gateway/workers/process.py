"""Entry points of a gateway with several workers: the supervisor, and a worker's main task."""

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import uvloop

from gateway import garbage_collection
from gateway.composition import compose
from gateway.identity import Identity
from gateway.listeners import Audience
from gateway.server import DRAIN_GRACE_SECONDS, GatewayServer
from gateway.settings import Settings
from gateway.stop_signals import stop_event
from gateway.workers.link import SupervisorLink
from gateway.workers.member import ClusterMember, apply_injection
from gateway.workers.supervisor import Supervisor

_CLOSE_SECONDS = 60.0
"""For a drained worker to close what it has open: journal (15 s per lock timeout), sink, traces, connections."""
log = logging.getLogger("gateway")


def create_supervisor(settings: Settings, identity: Identity, sockets: Mapping[socket.socket, Audience]) -> Supervisor:
    """The supervisor of ``settings.workers`` workers. Inside an enclave, register the key first."""
    share = _per_worker(settings)

    def run_worker(channel: socket.socket, injected: Any) -> None:
        uvloop.run(_serve(share, identity, [*sockets.values()], channel, injected))

    longest_drain = 2 * (settings.drain_seconds + DRAIN_GRACE_SECONDS) + _CLOSE_SECONDS
    return Supervisor([*sockets], settings.workers, run_worker, longest_drain)


def _per_worker(settings: Settings) -> Settings:
    """The settings of one worker, with its share of the limits on requests in flight and queued."""
    count = settings.workers
    return replace(settings, max_inflight=-(-settings.max_inflight // count), queue=-(-settings.queue // count))


async def _serve(
    settings: Settings,
    identity: Identity,
    audiences: Sequence[Audience],
    channel: socket.socket,
    injected: Any,
) -> None:
    """Serve the supervisor's connections until a stop signal or the end of the supervisor, then drain."""
    stopped = stop_event()
    async with compose(settings, identity=identity) as services:
        services.tee_enabled = settings.enclave
        services.is_leader = False
        server = GatewayServer(services)
        link = SupervisorLink(channel, await server.serve_accepted(audiences))
        services.cluster = ClusterMember(services, link)
        if injected is not None:
            await apply_injection(services, injected)
        garbage_collection.freeze()
        link.ready()
        await _wait_for_any(stopped.wait(), link.gone.wait())
        link.draining()
        await services.heartbeat.stop()
        await server.drain(settings.drain_seconds, link.drained)
        link.close()


async def _wait_for_any(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
