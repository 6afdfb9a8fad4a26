"""The worker that runs the singleton tasks."""

from contextlib import ExitStack

from gateway.workers.channel import Packet, channel_pair, receive
from gateway.workers.supervisor import Supervisor
from gateway.workers.worker import Worker


def test_one_worker_leads_until_it_drains_and_nobody_once_the_gateway_stops() -> None:
    supervisor = Supervisor([], 3, lambda channel, injected: None)
    supervisor._selector.close()
    with ExitStack() as stack:
        ends = [tuple(map(stack.enter_context, channel_pair())) for _ in range(3)]
        first, second, third = workers = [Worker(pid, ours) for pid, (ours, _) in enumerate(ends)]
        supervisor._workers = {worker.pid: worker for worker in workers}

        def told_to_lead(worker: Worker, op: str) -> list[int]:
            """The workers that are told to, now that ``worker`` has sent ``op``."""
            supervisor._handle(worker, Packet(op))
            return [pid for pid, (_, theirs) in enumerate(ends) if receive(theirs) == (Packet("lead"), None)]

        assert told_to_lead(second, "ready") == [1]
        assert told_to_lead(first, "ready") == []
        assert told_to_lead(third, "draining") == []
        assert told_to_lead(second, "draining") == [0]
        supervisor._stopping = True
        assert told_to_lead(first, "draining") == []
