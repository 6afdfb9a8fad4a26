"""Which workers the supervisor gives connections to."""

import pytest

from gateway.workers.channel import Packet, channel_pair
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Worker


@pytest.mark.parametrize(
    ("ready", "draining", "stopping", "gets"),
    [
        (True, False, False, True),
        (True, True, False, False),
        (True, True, True, True),
        (False, False, False, False),
        (False, True, True, False),
    ],
)
def test_who_gets_connections(ready: bool, draining: bool, stopping: bool, gets: bool) -> None:
    supervisor = Supervisor([], 1, lambda channel, injected: None)
    supervisor._selector.close()
    ours, theirs = channel_pair()
    with ours, theirs:
        supervisor._workers[1] = Worker(1, ours, ready, draining)
        supervisor._stopping = stopping
        assert bool(supervisor._accepting_workers()) is gets
        supervisor._handle(supervisor._workers[1], Packet("drained"))
        assert not supervisor._accepting_workers()
