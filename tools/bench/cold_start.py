"""What a gateway costs before anybody asks it anything."""

from collections.abc import Mapping

from tools.bench.accounting import cpu_seconds, resident_bytes
from tools.bench.measure import LoadError, Pace, Start, make_job, play
from tools.bench.servers import gateway
from tools.bench.shapes import Shape


def cold_start(environment: Mapping[str, str], shape: Shape) -> Start:
    """Start a gateway, let it answer ``shape`` once, end it; raises LoadError when the answer is bad."""
    with gateway(environment, "gateway-start") as server:
        job = make_job(shape, "gateway", server, Pace())
        job.connections, job.warm_up, job.seconds = 1, 0.0, 0.0
        outcome = play(job)
        if outcome.answers != 1:
            raise LoadError("the first answer failed")
        return Start(cpu_seconds(server.pid), resident_bytes(server.pid))
