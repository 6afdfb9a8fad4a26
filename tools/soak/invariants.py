"""What must hold once nobody asks any more, and while they do."""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Callable
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
from tools.soak.stage import Stage

REST_SECONDS = 15.0
_OF_ONE_REQUEST = (Exchange, Dispatch, UpstreamResponse, StreamReply, Slot, RequestRecord)
RSS_SLOPE_BYTES = 64 * 2**20
"""How much larger the last quarter of a run may be than its second quarter."""


async def at_rest(stage: Stage, body_budget: int) -> list[str]:
    """What has not come back to nothing although all clients have gone; given some time for it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + REST_SECONDS
    while (left := _left(stage, body_budget) or _remembered()) and loop.time() < until:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.1)
    return left


def _remembered() -> list[str]:
    """Objects of requests that ended long ago."""
    gc.collect()
    counts = Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, _OF_ONE_REQUEST))
    return [f"{count} {name} objects still in memory" for name, count in counts.items()]


def _left(stage: Stage, body_budget: int) -> list[str]:
    services = stage.services
    connections = sum(len(runner.server.connections) for runner in stage.server._runners if runner.server is not None)
    counts: dict[str, int] = {
        "requests in flight": services.admission.active,
        "requests waiting": services.admission.waiting,
        "streams open": len(services.streams),
        "client connections": connections,
        "bytes of bodies not given back": body_budget - services.bodies._left,
        "payments open": stage.till.claims - stage.till.ends.total(),
    }
    for name, upstream in services.upstreams.items():
        counts[f"connections in use to {name}"] = upstream.transport.open_connections
    return [f"{count} {name}" for name, count in counts.items() if count]


def after_shutdown(sockets_before: int) -> list[str]:
    """Tasks and sockets that outlived the gateway and everything around it."""
    gc.collect()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    found = [f"task left: {task.get_coro()!r}" for task in tasks]
    if (more := open_sockets() - sockets_before) > 0:
        found.append(f"{more} sockets left")
    return found


def accounts(stage: Stage, recorder: Recorder, findings: Findings) -> list[str]:
    """Requests, answers and money against one another."""
    found = [*recorder.problems, *findings.problems, *stage.till.problems()]
    if missing := recorder.missing(findings.finished):
        found.append(f"{missing} requests were answered and never ended")
    if unpaid := findings.signatures - stage.till.settled:
        found.append(f"{len(unpaid)} answers were delivered and not settled")
    return found


def memory(samples: list[int]) -> list[str]:
    """Whether memory grew from the second quarter of the run, when all is warm, to the last."""
    quarter = len(samples) // 4
    if not quarter:
        return []
    growth = int(median(samples[-quarter:]) - median(samples[quarter : 2 * quarter]))
    return [f"memory grew by {growth / 2**20:.1f} MiB"] if growth > RSS_SLOPE_BYTES else []


def resident() -> int:
    """Bytes of this process in memory."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_sockets() -> int:
    """Sockets of this process."""
    return _count(lambda target: target.startswith("socket:"))


def _count(wanted: Callable[[str], bool]) -> int:
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += wanted(str(entry.readlink()))
        except OSError:
            continue
    return count
