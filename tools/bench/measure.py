"""Run the workloads. Every round measures each target in turn, so that disturbances affect all of them alike."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from gateway.signing import Signer
from tools.bench.load import Job, Outcome
from tools.bench.peers import PEERS
from tools.bench.process_cpu import pin, unpin
from tools.bench.servers import Server
from tools.bench.workloads import Workload

SIGNATURES = 1000
UPSTREAM = "upstream"
_SIGNED = ("gateway", "gateway_paid", "one_worker", "two_workers", "bare_signer")


@dataclass(frozen=True, slots=True)
class ColdStart:
    """CPU seconds from the start of a process to its first signed answer, and its resident bytes then."""

    cpu: float
    resident: int


class LoadError(Exception):
    """The load generator failed, or a target gave invalid answers."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Length of a run: at most ``rounds`` per workload, of ``scale`` times its seconds after ``warm_up`` seconds."""

    rounds: int = 99
    scale: float = 1.0
    warm_up: float = 0.3


@dataclass(slots=True)
class Results:
    """``outcomes`` by workload and target, one per round; ``signature`` is the CPU seconds of one RSA signature, by
    workload and round.
    """

    outcomes: dict[str, dict[str, list[Outcome]]] = field(default_factory=dict)
    signature: dict[str, list[float]] = field(default_factory=dict)
    cold_starts: list[ColdStart] = field(default_factory=list)

    def rounds(self, workload: str, *targets: str) -> list[tuple[Outcome, ...]]:
        """The outcomes of ``targets`` of each round; empty if one of them was not measured."""
        measured = self.outcomes.get(workload, {})
        return list(zip(*(measured.get(target, []) for target in targets), strict=False))


def measure(
    workloads: Iterable[Workload],
    servers: Mapping[str, Server],
    prepare: Callable[[Job, Server, Workload], None],
    schedule: Schedule,
    log: Callable[[str], None],
) -> Results:
    """Run all rounds of all workloads. ``prepare`` adds headers or payments to the jobs of particular servers.

    A peer that fails in a round is left out of it; a failure of any other target raises LoadError. A job whose load
    generator fails is retried once.
    """
    results = Results()
    signer = Signer()
    runner = _Runner(servers, prepare, schedule, log)
    for workload in workloads:
        log(f"{workload.title} …")
        outcomes = results.outcomes[workload.name] = {}
        results.signature[workload.name] = []
        targets = [name for name in workload.targets if workload.server(name) in servers]
        if workload.unpinned:
            unpin(servers[UPSTREAM].pid)
        for number in range(min(workload.rounds, schedule.rounds)):
            turn = number % len(targets)
            for target in targets[turn:] + targets[:turn]:
                if (outcome := runner.run(workload, target)) is not None:
                    outcomes.setdefault(target, []).append(outcome)
            results.signature[workload.name].append(signature_seconds(signer))
        if workload.unpinned:
            pin(servers[UPSTREAM].pid, measured=False)
    return results


@dataclass(frozen=True, slots=True)
class _Runner:
    servers: Mapping[str, Server]
    prepare: Callable[[Job, Server, Workload], None]
    schedule: Schedule
    log: Callable[[str], None]

    def run(self, workload: Workload, target: str) -> Outcome | None:
        """One round of one target; None if a peer failed."""
        server = self.servers[workload.server(target)]
        try:
            outcome = self._attempt(workload, target, server)
        except LoadError as error:
            self.log(f"once more, because {error}")
            outcome = self._attempt(workload, target, server)
        if not outcome.errors:
            return outcome
        if server.name not in PEERS:
            raise LoadError(f"{target} failed {outcome.errors} of {workload.title}")
        self.log(f"{target} failed {outcome.errors} and is left out of this round")
        return None

    def _attempt(self, workload: Workload, target: str, server: Server) -> Outcome:
        job = make_job(workload, target, server, self.schedule)
        self.prepare(job, server, workload)
        return run_job(job)


def make_job(workload: Workload, target: str, server: Server, schedule: Schedule) -> Job:
    """The load generator's job for one target of a workload."""
    path = {
        "bare_proxy": workload.bare_path,
        "bare_signer": workload.bare_path,
        UPSTREAM: "/chat/completions",
    }.get(server.name, "/v1/chat/completions")
    return Job(
        url=server.url + path,
        headers=dict(server.headers),
        body=workload.encoded(target),
        connections=workload.connections,
        warm_up=0.0 if workload.hold or (workload.stream and workload.seconds < 1) else schedule.warm_up,
        seconds=workload.seconds if workload.hold or workload.stream else workload.seconds * schedule.scale,
        server=server.pid,
        ramp_up=workload.ramp_up,
        marker=b"tee_signature" if server.name in _SIGNED else b"",
        hold=workload.hold,
        pinned=not workload.unpinned,
    )


def run_job(job: Job) -> Outcome:
    """Run a job in a new load generator process. Raises LoadError."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.load"], input=msgspec.json.encode(job), capture_output=True, check=False
    )
    if done.returncode:
        raise LoadError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    try:
        return msgspec.json.decode(done.stdout, type=Outcome)
    except msgspec.DecodeError as error:
        raise LoadError(f"the load generator printed {len(done.stdout)} bytes: {error}") from None


def signature_seconds(signer: Signer) -> float:
    """CPU seconds of one RSA-PSS signature now, averaged over SIGNATURES."""
    message = bytes(32)
    started = time.thread_time()
    for _ in range(SIGNATURES):
        signer.sign_bytes(message)
    return (time.thread_time() - started) / SIGNATURES
