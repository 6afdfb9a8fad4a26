"""CPU and memory of a gateway up to its first answer."""

from collections.abc import Mapping

from tools.bench.measure import ColdStart, LoadError, Schedule, make_job, run_job
from tools.bench.process_cpu import cpu_seconds, resident_bytes
from tools.bench.servers import gateway
from tools.bench.workloads import Workload


def cold_start(environment: Mapping[str, str], workload: Workload) -> ColdStart:
    """Start a gateway, send it one request of ``workload``, stop it. Raises LoadError if the request fails."""
    with gateway(environment, "gateway-start") as server:
        job = make_job(workload, "gateway", server, Schedule())
        job.connections, job.warm_up, job.seconds = 1, 0.0, 0.0
        outcome = run_job(job)
        if outcome.answers != 1:
            raise LoadError("the first answer failed")
        return ColdStart(cpu_seconds(server.pid), resident_bytes(server.pid))
