"""Scatter/gather calls whose workers answer, exit or stay silent."""

from typing import Any

import pytest

from gateway.workers import scatter_gather
from gateway.workers.channel import Packet
from gateway.workers.scatter_gather import ScatterGather

CALLER, NUMBER = 10, 7
SCRAPE_SECONDS = 10.0
LONGEST_STEP_SECONDS = 1.0
"""Of the supervisor, which looks for expired calls after each."""


class SentPackets:
    """Records the packets sent, with the recipient's process id."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Packet]] = []

    def __call__(self, pid: int, packet: Packet) -> None:
        self.sent.append((pid, packet))

    @property
    def called(self) -> list[int]:
        return [pid for pid, packet in self.sent if packet.op != "reply"]

    @property
    def answered(self) -> list[tuple[int, int, Any]]:
        return [(pid, packet.number, packet.body) for pid, packet in self.sent if packet.op == "reply"]

    def answer(self, body: Any) -> Packet:
        """Answer the latest call."""
        return Packet("reply", self.sent[-1][1].number, body)


def counted(value: str) -> list[list[Any]]:
    return [["gateway_requests", "", "counter", [["gateway_requests_total", {}, value]]]]


def test_the_caller_gets_the_reply_once_all_have_answered() -> None:
    sent = SentPackets()
    calls = ScatterGather(sent)
    calls.scatter(CALLER, NUMBER, Packet("metrics"), {1, 2})
    first, second = counted("1.0"), counted("2.0")
    answers = sent.answer(first), sent.answer(second)
    assert sorted(sent.called) == [1, 2]
    calls.gather(1, answers[0])
    assert sent.answered == []
    calls.gather(2, answers[1])
    assert sent.answered == [(CALLER, NUMBER, counted("3.0"))]
    calls.gather(2, answers[1])
    assert len(sent.answered) == 1


def test_who_is_lost_is_not_waited_for_and_what_it_counted_stays() -> None:
    sent = SentPackets()
    calls = ScatterGather(sent)
    calls.scatter(CALLER, NUMBER, Packet("metrics"), {1, 2})
    calls.gather(1, sent.answer(counted("1.0")))
    calls.remove_worker(2, lost=False)
    calls.remove_worker(1, lost=False)
    calls.scatter(CALLER, NUMBER + 1, Packet("metrics"), set())
    assert sent.answered == [(CALLER, NUMBER, counted("1.0")), (CALLER, NUMBER + 1, counted("1.0"))]


def test_who_is_silent_is_waited_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, now = SentPackets(), 1000.0
    monkeypatch.setattr("gateway.workers.scatter_gather.time.monotonic", lambda: now)
    calls = ScatterGather(sent)
    calls.scatter(CALLER, NUMBER, Packet("lead_status"), {1, 2})
    calls.gather(1, sent.answer({"enabled": True}))
    now += scatter_gather.TIMEOUT_SECONDS["lead_status"]
    calls.expire()
    assert sent.answered == []
    now += 0.001
    calls.expire()
    assert sent.answered == [(CALLER, NUMBER, {"enabled": True})]


def test_a_scrape_gets_the_counts_of_the_others_before_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, now = SentPackets(), 1000.0
    monkeypatch.setattr("gateway.workers.scatter_gather.time.monotonic", lambda: now)
    calls = ScatterGather(sent)
    calls.scatter(CALLER, NUMBER, Packet("metrics"), {1, 2})
    calls.gather(1, sent.answer(counted("1.0")))
    now += SCRAPE_SECONDS - LONGEST_STEP_SECONDS
    calls.expire()
    assert sent.answered == [(CALLER, NUMBER, counted("1.0"))]


def test_a_call_to_nobody_is_answered_at_once() -> None:
    sent = SentPackets()
    ScatterGather(sent).scatter(CALLER, NUMBER, Packet("lead_status"), set())
    assert sent.answered == [(CALLER, NUMBER, None)]
