"""Runs the shapes: every round asks each target in turn, so that whatever the machine does befalls all alike."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from gateway.signing import Signer
from tools.bench.accounting import pin, unpin
from tools.bench.load import Job, Outcome
from tools.bench.servers import Server
from tools.bench.shapes import Shape

SIGNATURES = 1000
UPSTREAM = "upstream"
_SIGNED = ("gateway", "gateway_paid", "one_worker", "two_workers", "bare_signer")


@dataclass(frozen=True, slots=True)
class Start:
    """CPU seconds from a process's birth to its first signed answer, and the bytes of memory that it then holds."""

    cpu: float
    resident: int


class LoadError(Exception):
    """The load generator failed, or a target answered badly."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a run takes: at most ``rounds`` per shape, and ``scale`` times each shape's seconds."""

    rounds: int = 99
    scale: float = 1.0
    warm_up: float = 0.3


@dataclass(slots=True)
class Results:
    """Outcomes by shape and target, one per round; ``signature`` is CPU seconds of one RSA signature, by shape.

    ``starts`` are fresh processes.
    """

    outcomes: dict[str, dict[str, list[Outcome]]] = field(default_factory=dict)
    signature: dict[str, list[float]] = field(default_factory=dict)
    starts: list[Start] = field(default_factory=list)

    def rounds(self, shape: str, *targets: str) -> list[tuple[Outcome, ...]]:
        """The outcomes of ``targets`` side by side, round by round; empty when one of them was not measured."""
        measured = self.outcomes.get(shape, {})
        return list(zip(*(measured.get(target, []) for target in targets), strict=False))


def measure(
    shapes: Iterable[Shape],
    servers: Mapping[str, Server],
    prepare: Callable[[Job, Server, Shape], None],
    pace: Pace,
    say: Callable[[str], None],
) -> Results:
    """All rounds of all shapes; ``prepare`` adds to a job what only the clients of one server send.

    A peer that fails a shape is left out of it; one of our own ends the run. A load generator that dies says nothing
    of its target and gets a second chance.
    """
    results = Results()
    signer = Signer()

    def prepared(shape: Shape, target: str, server: Server) -> Job:
        job = make_job(shape, target, server, pace)
        prepare(job, server, shape)
        return job

    for shape in shapes:
        say(f"{shape.title} …")
        outcomes = results.outcomes[shape.name] = {}
        results.signature[shape.name] = []
        targets = [name for name in shape.targets if shape.aliases.get(name, name) in servers]
        if shape.spread_out:
            unpin(servers[UPSTREAM].pid)
        for number in range(min(shape.rounds, pace.rounds)):
            turn = number % len(targets)
            for target in targets[turn:] + targets[:turn]:
                server = servers[shape.aliases.get(target, target)]
                try:
                    outcome = play(prepared(shape, target, server))
                except LoadError as error:
                    say(f"once more, because {error}")
                    outcome = play(prepared(shape, target, server))
                if outcome.errors and server.name not in ("litellm", "portkey"):
                    raise LoadError(f"{target} failed {outcome.errors} of {shape.title}")
                if outcome.errors:
                    say(f"{target} failed {outcome.errors} and is left out of this round")
                else:
                    outcomes.setdefault(target, []).append(outcome)
            results.signature[shape.name].append(signature_seconds(signer))
        if shape.spread_out:
            pin(servers[UPSTREAM].pid, measured=False)
    return results


def make_job(shape: Shape, target: str, server: Server, pace: Pace) -> Job:
    """What the load generator is told."""
    path = {
        "bare_proxy": shape.bare_path,
        "bare_signer": shape.bare_path,
        UPSTREAM: "/chat/completions",
    }.get(server.name, "/v1/chat/completions")
    return Job(
        url=server.url + path,
        headers=dict(server.headers),
        body=shape.encoded(target),
        connections=shape.connections,
        warm_up=0.0 if shape.hold or (shape.stream and shape.seconds < 1) else pace.warm_up,
        seconds=shape.seconds if shape.hold or shape.stream else shape.seconds * pace.scale,
        server=server.pid,
        spread=shape.spread,
        sign=b"tee_signature" if server.name in _SIGNED else b"",
        hold=shape.hold,
        pinned=not shape.spread_out,
    )


def play(job: Job) -> Outcome:
    """One job in a load generator of its own; raises LoadError."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.load"], input=msgspec.json.encode(job), capture_output=True, check=False
    )
    if done.returncode:
        raise LoadError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    try:
        return msgspec.json.decode(done.stdout, type=Outcome)
    except msgspec.DecodeError as error:
        raise LoadError(f"the load generator said {len(done.stdout)} bytes: {error}") from None


def signature_seconds(signer: Signer) -> float:
    """CPU seconds of one RSA-PSS signature at this moment."""
    message = bytes(32)
    started = time.thread_time()
    for _ in range(SIGNATURES):
        signer.sign_bytes(message)
    return (time.thread_time() - started) / SIGNATURES
