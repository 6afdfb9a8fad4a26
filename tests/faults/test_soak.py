"""A two-minute soak, and tests that its invariants detect the faults they are meant for."""

import asyncio
import logging
import socket
from random import Random

import pytest

from gateway.catalog import Catalog
from gateway.lifecycle import State
from gateway.signing import Signer
from gateway.telemetry.request_record import RequestRecord
from tools.soak import invariants
from tools.soak.__main__ import report
from tools.soak.faults import Fault, corrupt_content_length, draw
from tools.soak.payments import CAP, Claim, SimulatedPayments
from tools.soak.recorder import Recorder
from tools.soak.run import soak

SECONDS = 120.0
SEED = 20261123


async def test_everything_goes_wrong_and_all_invariants_hold(
    signer: Signer, catalog: Catalog, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "aiohttp.server")
    outcome = await soak(SECONDS, SEED, catalog, signer)
    with capsys.disabled():
        print()
        report(outcome, SECONDS)
    assert outcome.problems == []
    assert outcome.findings.verified > 50
    assert outcome.ends.total() > 500
    assert min(outcome.faults[kind] for kind in ("reset", "close", "stall", "trickle", "garbage", "length")) > 0
    assert {"open → settled", "open → released", "open → withheld"} == set(outcome.payments)


async def test_a_run_without_answers_holds_nothing(signer: Signer, catalog: Catalog) -> None:
    assert (await soak(0.0, SEED, catalog, signer)).problems == ["no answer was verified"]


def test_the_same_seed_draws_the_same_faults() -> None:
    def drawn(seed: int) -> list[Fault]:
        random = Random(seed)
        return [draw(random) for _ in range(100)]

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx", b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nx"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
    ],
)
def test_a_wrong_length(head: bytes, expected: bytes) -> None:
    assert corrupt_content_length(head, 3) == expected


def ended(**facts: object) -> list[str]:
    """The recorder's findings for one request with these facts."""
    recorder = Recorder()
    record = RequestRecord("req_1", "POST", "/v1/chat/completions", status=200)
    for name, value in facts.items():
        setattr(record, name, value)
    recorder.emit(logging.LogRecord("gateway.requests", logging.INFO, "", 0, record, None, None))
    return recorder.problems


@pytest.mark.parametrize("state", [State.SETTLED, State.RELEASED, State.REFUSED, None])
def test_ends_that_are_ends(state: State | None) -> None:
    assert ended(state=state and state.value) == []


@pytest.mark.parametrize("state", [State.ADMITTED, State.DISPATCHED, State.ANSWERING, State.SIGNED, State.SETTLING])
def test_ends_that_are_none(state: State) -> None:
    assert ended(state=state.value) == [f"req_1 ended in state {state.value}"]


def test_charged_errors_and_failures_are_noticed() -> None:
    assert ended(state="settled", status=502) == ["req_1 was charged for status 502"]
    assert ended(state="released", status=500) == ["req_1 failed inside the gateway"]


def test_ending_twice_and_errors_in_the_log_are_noticed() -> None:
    recorder = Recorder()
    record = RequestRecord("req_1", "POST", "/", status=200)
    for _ in range(2):
        recorder.emit(logging.LogRecord("gateway.requests", logging.INFO, "", 0, record, None, None))
    recorder.emit(logging.LogRecord("gateway.server", logging.ERROR, "", 0, "unhandled", None, None))
    assert recorder.problems == ["req_1 ended twice", "gateway.server: unhandled (nothing raised)"]


def test_requests_that_were_answered_and_never_ended_are_noticed() -> None:
    recorder = Recorder()
    record = RequestRecord("req_1", "POST", "/", status=200)
    recorder.emit(logging.LogRecord("gateway.requests", logging.INFO, "", 0, record, None, None))
    assert recorder.missing({hash("req_1")}) == 0
    assert recorder.missing({hash("req_1"), hash("req_2")}) == 1


async def test_lost_and_doubled_money_is_noticed() -> None:
    payments = SimulatedPayments(Random(1))
    payments.claims, payments.balance = 1, payments.balance - CAP
    assert payments.problems() == ["1 payments were claimed, 0 came to an end", f"{CAP} units are missing"]
    claim = Claim(payments)
    await claim.release("once")
    assert payments.problems() == []
    await claim.release("twice")
    assert "1 payments went released → released" in payments.problems()


def test_growing_memory_is_noticed() -> None:
    level = [100 * 2**20] * 40
    assert invariants.memory_growth(level) == []
    assert invariants.memory_growth(level[:30] + [200 * 2**20] * 10) == ["memory grew by 100.0 MiB"]


async def test_tasks_and_sockets_left_are_noticed() -> None:
    before = invariants.open_sockets()
    task = asyncio.create_task(asyncio.sleep(60), name="left")
    with socket.socket():
        found = invariants.after_shutdown(before)
    task.cancel()
    assert len(found) == 2
    assert found[1] == "1 sockets left"
