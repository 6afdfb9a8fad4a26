"""The invariants of the gateway under load and after it."""

import asyncio
import gc
import os
from collections import Counter
from pathlib import Path
from statistics import median

from gateway.admission import Slot
from gateway.dispatch import Dispatch
from gateway.exchange import Exchange
from gateway.http_server.stream_reply import StreamReply
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.upstream import UpstreamResponse
from tools.soak.clients import Findings
from tools.soak.recorder import Recorder
from tools.soak.testbed import Testbed

IDLE_TIMEOUT_SECONDS = 15.0
_REQUEST_TYPES = (Exchange, Dispatch, UpstreamResponse, StreamReply, Slot, RequestRecord)
MAX_RSS_GROWTH_BYTES = 64 * 2**20
"""Allowed growth of the median from the second quarter of a run to the last."""


async def check_idle(testbed: Testbed, body_budget: int) -> list[str]:
    """Resources still in use IDLE_TIMEOUT_SECONDS after all clients have disconnected."""
    loop = asyncio.get_running_loop()
    until = loop.time() + IDLE_TIMEOUT_SECONDS
    while (left := _outstanding(testbed, body_budget) or _leaked_objects()) and loop.time() < until:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.1)
    return left


def _leaked_objects() -> list[str]:
    """Objects of ended requests that are still in memory."""
    gc.collect()
    counts = Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, _REQUEST_TYPES))
    return [f"{count} {name} objects still in memory" for name, count in counts.items()]


def _outstanding(testbed: Testbed, body_budget: int) -> list[str]:
    services = testbed.services
    connections = sum(len(runner.server.connections) for runner in testbed.server._runners if runner.server is not None)
    counts: dict[str, int] = {
        "requests in flight": services.admission.active,
        "requests waiting": services.admission.waiting,
        "streams open": len(services.streams),
        "client connections": connections,
        "bytes of bodies not given back": body_budget - services.bodies._left,
        "payments open": testbed.payments.claims - testbed.payments.ends.total(),
    }
    for name, upstream in services.upstreams.items():
        counts[f"connections in use to {name}"] = upstream.transport.open_connections
    return [f"{count} {name}" for name, count in counts.items() if count]


def after_shutdown(sockets_before: int) -> list[str]:
    """Tasks and sockets that are left after the shutdown."""
    gc.collect()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    found = [f"task left: {task.get_coro()!r}" for task in tasks]
    if (more := open_sockets() - sockets_before) > 0:
        found.append(f"{more} sockets left")
    return found


def reconcile(testbed: Testbed, recorder: Recorder, findings: Findings) -> list[str]:
    """Reconcile requests, answers and payments."""
    found = [*recorder.problems, *findings.problems, *testbed.payments.problems()]
    if missing := recorder.missing(findings.finished):
        found.append(f"{missing} requests were answered and never ended")
    if unpaid := findings.signatures - testbed.payments.settled:
        found.append(f"{len(unpaid)} answers were delivered and not settled")
    return found


def memory_growth(samples: list[int]) -> list[str]:
    """Compare the median memory of the last quarter of the run with that of the second, after warm-up."""
    quarter = len(samples) // 4
    if not quarter:
        return []
    growth = int(median(samples[-quarter:]) - median(samples[quarter : 2 * quarter]))
    return [f"memory grew by {growth / 2**20:.1f} MiB"] if growth > MAX_RSS_GROWTH_BYTES else []


def resident() -> int:
    """Resident bytes of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_sockets() -> int:
    """The number of open sockets of this process."""
    return sum(entry.is_socket() for entry in Path("/proc/self/fd").iterdir())
