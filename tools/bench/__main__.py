"""`python -m tools.bench`: measure, print the ratios, exit 1 if one misses its bound."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial

from tools.bench import machine, pages
from tools.bench.cold_start import cold_start
from tools.bench.load import Job
from tools.bench.measure import UPSTREAM, LoadError, Results, Schedule, measure
from tools.bench.micro import measure_steps
from tools.bench.paid_gateway import PAID, paid_gateway, sign_payments
from tools.bench.peers import PEERS
from tools.bench.report import costs, plain, ratios, steps
from tools.bench.servers import Server, StartError, bare, gateway, simulators
from tools.bench.verdicts import relative_dispersion, verdicts
from tools.bench.workloads import WORKLOADS, Workload
from tools.command_line import exit_with

_STARTS = 5
_QUICK = Schedule(rounds=2, scale=0.25, warm_up=0.1)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description="Measure the gateway beside bare proxies, other gateways and the machine's own signing rate.",
        epilog="Exit status: 0 when every measured ratio keeps its bound, 1 when one misses it, 2 when the run failed.",
    )
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--quick", action="store_true", help="few short rounds; docs/benchmarks.md is not written")
    parser.add_argument("--only", action="append", metavar="SHAPE", choices=names, help=f"one of {', '.join(names)}")
    parser.add_argument("--no-peers", action="store_true", help="without LiteLLM and Portkey")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    options = arguments(argv)
    workloads = [workload for workload in WORKLOADS if options.only is None or workload.name in options.only]
    before = machine.cpu_ticks()
    try:
        results = run(workloads, options)
    except (LoadError, StartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    found = verdicts(results)
    noise = _noise(results, machine.steal_share(before, machine.cpu_ticks()))
    micro = measure_steps() if options.only is None else {}
    tables = [costs(results), *([steps(micro)] if micro else []), ratios(found)]
    print("\n\n".join(["", machine.describe(), noise, *(plain(rows) for rows in tables)]))
    if not (options.quick or options.only or options.no_peers):
        pages.write(results, found, micro, machine.describe(), noise, datetime.now(UTC).date())
    missed = [verdict for verdict in found if verdict.status == "MISSED"]
    return 1 if missed else 0


def run(workloads: Sequence[Workload], options: argparse.Namespace) -> Results:
    """Measure all workloads; those that hold streams first, on servers of their own, whose memory stays scattered."""
    schedule = _QUICK if options.quick else Schedule()
    results = Results()
    with simulators() as (environment, vendors):
        for hold in (True, False):
            phase = [workload for workload in workloads if workload.hold is hold]
            wanted = {workload.server(target) for workload in phase for target in workload.targets}
            if options.no_peers:
                wanted -= PEERS.keys()
            with start_servers(environment, vendors, wanted) as servers:
                measured = measure(phase, servers, partial(_prepare, environment), schedule, _log)
            results.outcomes |= measured.outcomes
            results.signature |= measured.signature
        if options.only is None:
            _log("cold starts …")
            small = next(workload for workload in WORKLOADS if workload.name == "small")
            results.cold_starts += [cold_start(environment, small) for _ in range(min(_STARTS, schedule.rounds))]
    return results


@contextmanager
def start_servers(environment: Mapping[str, str], vendors: int, wanted: Set[str]) -> Iterator[Mapping[str, Server]]:
    """The ``wanted`` servers by name, with the simulated OpenAI. ``vendors`` is the simulators' pid.

    A peer that fails to start is skipped and logged.
    """
    starts = {
        "gateway": gateway(environment),
        "one_worker": gateway(environment, "one_worker", {"GATEWAY_WORKERS": "1"}, pinned=False),
        "two_workers": gateway(environment, "two_workers", {"GATEWAY_WORKERS": "2"}, pinned=False),
        "bare_proxy": bare(environment, "bare_proxy"),
        "bare_signer": bare(environment, "bare_signer"),
        PAID: paid_gateway(environment),
    }
    with ExitStack() as stack:
        servers = {UPSTREAM: _upstream(environment, vendors)}
        servers |= {name: stack.enter_context(start) for name, start in starts.items() if name in wanted}
        for name, peer in PEERS.items():
            if name not in wanted:
                continue
            try:
                peer.install()
                servers[name] = stack.enter_context(peer.serve(environment))
            except StartError as error:
                _log(f"{name}: skipped, {error}")
        yield servers


def _upstream(environment: Mapping[str, str], vendors: int) -> Server:
    """The simulated OpenAI itself, as the baseline of latency; its CPU is not evaluated."""
    authorization = {"Authorization": f"Bearer {environment['OPENAI_API_KEY']}"}
    return Server(UPSTREAM, environment["OPENAI_BASE_URL"], vendors, authorization)


def _prepare(environment: Mapping[str, str], job: Job, server: Server, workload: Workload) -> None:
    if (peer := PEERS.get(server.name)) is not None:
        job.headers.update(peer.headers(environment, workload.provider))
    elif server.name == PAID:
        job.payments = sign_payments(job.url, job.body, workload.payments)


def _noise(results: Results, stolen: float) -> str:
    rates = [seconds for workload in results.signature.values() for seconds in workload]
    load = os.getloadavg()[1]
    if not rates:
        return f"{stolen:.1%} of CPU time stolen, load {load:.1f}"
    signature = f"{min(rates) * 1e6:.0f} to {max(rates) * 1e6:.0f} µs (± {relative_dispersion(rates):.0%})"
    return (
        f"one RSA-2048 signature took {signature}, "
        f"{stolen:.1%} of CPU time was stolen, load {load:.1f} over five minutes"
    )


def _log(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    exit_with(main)
