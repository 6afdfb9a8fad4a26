"""`python -m tools.bench`: measure, print the ratios, exit 1 when one misses its bound."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from tools.bench import machine, pages
from tools.bench.cold_start import cold_start
from tools.bench.load import Job
from tools.bench.measure import UPSTREAM, LoadError, Pace, Results, measure
from tools.bench.micro import measured
from tools.bench.peers import LITELLM, PORTKEY
from tools.bench.report import costs, plain, ratios, steps
from tools.bench.servers import Server, StartError, bare, gateway, simulators
from tools.bench.shapes import SHAPES, Shape
from tools.bench.till import PAID, paid_gateway, tickets
from tools.bench.verdicts import spread, verdicts
from tools.command_line import exit_with

_STARTS = 5
_QUICK = Pace(rounds=2, scale=0.25, warm_up=0.1)
_PEERS = {peer.name: peer for peer in (LITELLM, PORTKEY)}


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description="Measure the gateway beside bare proxies, other gateways and the machine's own signing rate.",
        epilog="Exit status: 0 when every measured ratio keeps its bound, 1 when one misses it, 2 when the run failed.",
    )
    names = [shape.name for shape in SHAPES]
    parser.add_argument("--quick", action="store_true", help="few short rounds; docs/benchmarks.md stays as it is")
    parser.add_argument("--only", action="append", metavar="SHAPE", choices=names, help=f"one of {', '.join(names)}")
    parser.add_argument("--no-peers", action="store_true", help="without LiteLLM and Portkey")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    options = arguments(argv)
    shapes = [shape for shape in SHAPES if options.only is None or shape.name in options.only]
    before = machine.books()
    try:
        results = run(shapes, options)
    except (LoadError, StartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    found = verdicts(results)
    noise = _noise(results, machine.stolen_share(before, machine.books()))
    micro = measured() if options.only is None else {}
    tables = [costs(results), *([steps(micro)] if micro else []), ratios(found)]
    print("\n\n".join(["", machine.describe(), noise, *(plain(rows) for rows in tables)]))
    if not (options.quick or options.only or options.no_peers):
        pages.write(results, found, micro, machine.describe(), noise, datetime.now(UTC).date())
    missed = [verdict for verdict in found if verdict.word == "MISSED"]
    return 1 if missed else 0


def run(shapes: Sequence[Shape], options: argparse.Namespace) -> Results:
    """Start everything, measure all shapes, end everything."""
    pace = _QUICK if options.quick else Pace()
    with simulators() as (environment, vendors):
        with started(environment, vendors, with_peers=not options.no_peers) as servers:
            results = measure(shapes, servers, _preparing(environment), pace, _say)
        if options.only is None:
            _say("cold starts …")
            small = next(shape for shape in SHAPES if shape.name == "small")
            results.starts += [cold_start(environment, small) for _ in range(min(_STARTS, pace.rounds))]
    return results


@contextmanager
def started(environment: Mapping[str, str], vendors: int, *, with_peers: bool) -> Iterator[Mapping[str, Server]]:
    """All servers by name. ``vendors`` is the simulators' process. A peer that cannot be had is left out and named."""
    with ExitStack() as stack:
        servers = {UPSTREAM: _upstream(environment, vendors), "gateway": stack.enter_context(gateway(environment))}
        for name, workers in (("one_worker", "1"), ("two_workers", "2")):
            server = gateway(environment, name, {"GATEWAY_WORKERS": workers}, pinned=False)
            servers[name] = stack.enter_context(server)
        for name in ("bare_proxy", "bare_signer"):
            servers[name] = stack.enter_context(bare(environment, name))
        servers[PAID] = stack.enter_context(paid_gateway(environment))
        for name, peer in _PEERS.items():
            if not with_peers:
                _say(f"{name}: skipped, not asked for")
                continue
            try:
                peer.install()
                servers[name] = stack.enter_context(peer.serve(environment))
            except StartError as error:
                _say(f"{name}: skipped, {error}")
        yield servers


def _upstream(environment: Mapping[str, str], vendors: int) -> Server:
    """The simulated OpenAI itself, for the latency that nobody added; its CPU is not of interest."""
    authorization = {"Authorization": f"Bearer {environment['OPENAI_API_KEY']}"}
    return Server(UPSTREAM, environment["OPENAI_BASE_URL"], vendors, authorization)


def _preparing(environment: Mapping[str, str]) -> Callable[[Job, Server, Shape], None]:
    def prepare(job: Job, server: Server, shape: Shape) -> None:
        if (peer := _PEERS.get(server.name)) is not None:
            job.headers.update(peer.headers(environment, shape.provider))
        elif server.name == PAID:
            job.tickets = tickets(job.url, job.body, shape.tickets)

    return prepare


def _noise(results: Results, stolen: float) -> str:
    rates = [seconds for shape in results.signature.values() for seconds in shape]
    load = os.getloadavg()[1]
    if not rates:
        return f"{stolen:.1%} of CPU time stolen, load {load:.1f}"
    return (
        f"one RSA-2048 signature took {min(rates) * 1e6:.0f} to {max(rates) * 1e6:.0f} µs (± {spread(rates):.0%}), "
        f"{stolen:.1%} of CPU time was stolen, load {load:.1f} over five minutes"
    )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    exit_with(main)
