"""A worker process as the supervisor sees it."""

import logging
import os
import signal
import socket
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.workers.channel import ChannelClosedError, Packet, send

log = logging.getLogger(__name__)
_STALL_SECONDS = 20.0
_MAX_UNANSWERED_PINGS = 4


@dataclass
class Worker:
    """``ready`` while it serves connections, ``draining`` once it has been told to stop.

    ``unsent`` are packets that its full channel did not take; new connections go to others meanwhile. If none of them
    could be sent until ``kill_at`` (monotonic clock), the worker is killed, as is one that has sent nothing since the
    last ``unanswered`` pings. Pings are counted rather than seconds, since the supervisor may have been stopped itself.
    """

    pid: int
    channel: socket.socket
    ready: bool = False
    draining: bool = False
    unsent: deque[Packet] = field(default_factory=deque)
    kill_at: float = 0.0
    unanswered: int = 0

    def send(self, packet: Packet) -> None:
        """Send a packet, or keep it for ``flush`` if the channel is full."""
        if not self.unsent:
            self.kill_at = time.monotonic() + _STALL_SECONDS
        self.unsent.append(packet)
        self.flush()

    def flush(self) -> None:
        """Send the packets kept so far as far as the channel takes them; kill a worker that has stalled too long."""
        with suppress(ChannelClosedError):
            while self.unsent and send(self.channel, self.unsent[0]):
                self.unsent.popleft()
                self.kill_at = time.monotonic() + _STALL_SECONDS
            if self.unsent and time.monotonic() > self.kill_at:
                self.kill("does not accept messages")

    def ping(self) -> None:
        """Expect an answer, which SupervisorLink gives to calls of any kind; kill a worker that owes too many.

        The channel of a worker that hangs takes connections until it is full.
        """
        if self.unanswered >= _MAX_UNANSWERED_PINGS:
            self.kill("does not answer")
        else:
            self.unanswered += 1
            self.send(Packet("ping"))

    def kill(self, reason: str) -> None:
        log.error("worker %d %s; killing it", self.pid, reason)
        os.kill(self.pid, signal.SIGKILL)
        self.ready = False
        self.unsent.clear()
