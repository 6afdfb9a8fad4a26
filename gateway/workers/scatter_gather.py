"""Scatter/gather calls of the supervisor: to several workers, for one of them, with a timeout."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.workers.channel import Packet
from gateway.workers.metrics import ClusterMetrics

TIMEOUT_SECONDS = {"injected": 20.0, "metrics": 6.0, "lead_status": 6.0}
"""After this, a call of the operation is answered with the replies received so far.

If a worker hangs, a scrape gets the counts of the others before Prometheus gives up, after 10 s.
"""


@dataclass
class _Call:
    """``pending`` are the workers that have not replied yet; ``deadline`` is by the monotonic clock."""

    caller: int
    number: int
    op: str
    pending: set[int]
    deadline: float
    replies: list[Any] = field(default_factory=list)


class ScatterGather:
    """Workers are identified by process id. ``send`` sends a packet to one, if it is still there."""

    def __init__(self, send: Callable[[int, Packet], None]) -> None:
        self._send = send
        self._calls: dict[int, _Call] = {}
        self._next_id = 1
        self._metrics = ClusterMetrics()

    def scatter(self, caller: int, number: int, request: Packet, workers: set[int]) -> None:
        """Send ``request`` to ``workers``; the reply goes to ``caller`` under ``number``, at once if there are none."""
        id_, self._next_id = self._next_id, self._next_id + 1
        deadline = time.monotonic() + TIMEOUT_SECONDS[request.op]
        self._calls[id_] = _Call(caller, number, request.op, workers, deadline)
        for pid in list(workers):
            self._send(pid, Packet(request.op, id_, request.body))
        self._finish_if_complete(id_)

    def gather(self, pid: int, reply: Packet) -> None:
        """Add a worker's reply to its call; a late one is ignored."""
        if (call := self._calls.get(reply.number)) is not None:
            call.pending.discard(pid)
            call.replies.append(reply.body)
            if call.op == "metrics" and reply.body is not None:
                self._metrics.update(pid, reply.body)
            self._finish_if_complete(reply.number)

    def remove_worker(self, pid: int, *, lost: bool) -> None:
        """Expect no more replies from a worker that has ended; it is ``lost`` unless the gateway is stopping."""
        self._metrics.remove(pid, lost=lost)
        for id_ in list(self._calls):
            self._calls[id_].pending.discard(pid)
            self._finish_if_complete(id_)

    def expire(self) -> None:
        """Finish the calls whose deadline has passed."""
        now = time.monotonic()
        for id_, call in list(self._calls.items()):
            if call.deadline < now:
                call.pending.clear()
                self._finish_if_complete(id_)

    def _finish_if_complete(self, id_: int) -> None:
        call = self._calls[id_]
        if not call.pending:
            del self._calls[id_]
            self._send(call.caller, Packet("reply", call.number, self._result(call)))

    def _result(self, call: _Call) -> Any:
        if call.op == "metrics":
            return self._metrics.total()
        return call.replies[0] if call.replies else None
