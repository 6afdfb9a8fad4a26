"""A short run of the harness on real processes."""

import os
from collections.abc import Iterator, Mapping

import pytest

from tools.bench import payment_steps
from tools.bench.__main__ import arguments, start_servers
from tools.bench.load import Job
from tools.bench.measure import LoadError, Schedule, make_job, measure, run_job
from tools.bench.micro import benchmarks
from tools.bench.paid_gateway import PAID, sign_payments
from tools.bench.peers import PEERS
from tools.bench.servers import Server, StartError, serve, simulators
from tools.bench.verdicts import verdicts
from tools.bench.workloads import WORKLOADS, Workload


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Server]]:
    wanted = {workload.server(target) for workload in WORKLOADS for target in workload.targets} - PEERS.keys()
    with simulators() as (environment, vendors), start_servers(environment, vendors, wanted) as running:
        yield running


def as_they_are(job: Job, server: Server, workload: Workload) -> None:
    """The comparison servers' clients send nothing more."""


def test_one_shape(servers: Mapping[str, Server]) -> None:
    small = next(workload for workload in WORKLOADS if workload.name == "small")
    results = measure([small], servers, as_they_are, Schedule(rounds=1, scale=0.1, warm_up=0.05), lambda text: None)
    measured = results.outcomes["small"]
    assert measured.keys() == {"gateway", "bare_proxy", "bare_signer"}
    assert all(outcome.answers > 16 and outcome.errors == 0 for [outcome] in measured.values())
    forwarding, signing = measured["bare_proxy"][0], measured["bare_signer"][0]
    assert 0 < forwarding.cpu / forwarding.answers < signing.cpu / signing.answers
    assert 0.00005 < results.signature["small"][0] < 0.02
    assert "skipped" not in {verdict.status for verdict in verdicts(results)[:2]}


@pytest.mark.parametrize("name", ["anthropic", "pictures", "burst"])
def test_every_kind_of_work_is_answered_and_signed(servers: Mapping[str, Server], name: str) -> None:
    workload = next(workload for workload in WORKLOADS if workload.name == name)
    for target in workload.targets:
        server = servers.get(workload.server(target))
        if server is None:
            continue
        job = make_job(workload, target, server, Schedule())
        job.connections, job.warm_up, job.seconds = 2, 0.0, 0.0
        outcome = run_job(job)
        assert (outcome.answers, outcome.errors) == (2, 0), target
        if workload.stream:
            assert outcome.events >= 2 * workload.events, target


def test_two_workers_share_the_work(servers: Mapping[str, Server]) -> None:
    workload = next(workload for workload in WORKLOADS if workload.name == "workers")
    results = measure([workload], servers, as_they_are, Schedule(rounds=1, scale=0.2, warm_up=0.1), lambda text: None)
    one, two = (results.outcomes["workers"][name][0] for name in ("one_worker", "two_workers"))
    assert (one.errors, two.errors, one.worker_cpu) == (0, 0, [])
    assert len(two.worker_cpu) == 2
    assert 0 < sum(two.worker_cpu) < 1.2 * two.cpu


def test_paid_answers_each_with_a_payment_of_its_own(
    servers: Mapping[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shell with a proxy too."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name)
    workload = next(workload for workload in WORKLOADS if workload.name == "paid")
    job = make_job(workload, PAID, servers[PAID], Schedule())
    job.connections, job.warm_up, job.seconds = 2, 0.0, 5.0
    job.payments = sign_payments(job.url, job.body, 5)
    outcome = run_job(job)
    assert (outcome.answers, outcome.errors) == (5, 0)
    assert len(set(job.payments)) == 5


def test_a_payment_is_good_once(servers: Mapping[str, Server]) -> None:
    workload = next(workload for workload in WORKLOADS if workload.name == "paid")
    job = make_job(workload, PAID, servers[PAID], Schedule())
    job.connections, job.warm_up, job.seconds = 1, 0.0, 5.0
    [payment] = sign_payments(job.url, job.body, 1)
    job.payments = [payment]
    assert run_job(job).answers == 1
    job.body = job.body.replace(b"title", b"motto")
    assert run_job(job).errors == 1


def test_an_answer_without_a_signature_is_an_error(servers: Mapping[str, Server]) -> None:
    small = next(workload for workload in WORKLOADS if workload.name == "small")
    job = make_job(small, "bare_proxy", servers["bare_proxy"], Schedule())
    job.connections, job.warm_up, job.seconds, job.marker = 1, 0.0, 0.0, b"tee_signature"
    assert run_job(job).errors == 1


def test_an_unreachable_target_raises() -> None:
    with pytest.raises(LoadError):
        run_job(
            Job(url="http://127.0.0.1:9", headers={}, body=b"", connections=1, warm_up=0, seconds=0, server=os.getpid())
        )


def test_a_server_that_does_not_start_raises() -> None:
    with pytest.raises(StartError, match="nothing did not start"), serve("nothing", ["false"], {}):
        pass


def test_every_step_of_the_micro_benchmarks_works() -> None:
    for name, step in benchmarks().items():
        assert step() is not False, name


def test_the_journal_of_a_payment_costs_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payment_steps, "PAYMENTS", 3)
    assert payment_steps.journal_microseconds() > 0


def test_workloads_are_of_the_size_that_they_say() -> None:
    sizes = {workload.name: len(workload.encoded("gateway")) for workload in WORKLOADS}
    assert sizes["small"] == pytest.approx(2048, rel=0.1)
    assert sizes["large"] == pytest.approx(200 * 1024, rel=0.05)
    assert arguments(["--only", "small", "--quick"]).only == ["small"]
