"""A worker that takes no more packets, or has ended."""

import os
import signal
from types import SimpleNamespace

import pytest

from gateway.workers import worker as worker_module
from gateway.workers.channel import Packet, channel_pair, receive
from gateway.workers.worker import Worker


@pytest.mark.parametrize(("reads", "killed"), [(False, [(7, signal.SIGKILL)]), (True, [])])
def test_it_is_killed_unless_it_has_taken_one_lately(
    monkeypatch: pytest.MonkeyPatch, reads: bool, killed: list[tuple[int, int]]
) -> None:
    """Whatever else it is sent meanwhile."""
    now, kills = 100.0, list[tuple[int, int]]()
    monkeypatch.setattr(worker_module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(os, "kill", lambda pid, number: kills.append((pid, number)))
    ours, theirs = channel_pair()
    with ours, theirs:
        worker = Worker(7, ours, ready=True)
        while len(worker.unsent) < 10:
            worker.send(Packet("signature", body="x" * 100_000))
        for _ in range(3):
            assert not kills
            now += 8.0
            if reads:
                receive(theirs)
            worker.send(Packet("ping"))
    assert (kills, worker.ready) == (killed, reads)


def test_what_is_sent_to_one_that_has_ended_is_lost() -> None:
    ours, theirs = channel_pair()
    with ours:
        theirs.close()
        Worker(7, ours, ready=True).send(Packet("ping"))
