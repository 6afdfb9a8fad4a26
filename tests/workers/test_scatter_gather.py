"""Scatter/gather requests whose workers answer, exit or stay silent."""

from typing import Any

import pytest

from gateway.workers import scatter_gather
from gateway.workers.channel import Packet
from gateway.workers.scatter_gather import ScatterGather

ASKER, NUMBER = 10, 7


class SentPackets:
    """Records the packets sent, with the recipient's process id."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Packet]] = []

    def __call__(self, pid: int, packet: Packet) -> None:
        self.sent.append((pid, packet))

    @property
    def asked(self) -> list[int]:
        return [pid for pid, packet in self.sent if packet.op != "reply"]

    @property
    def answered(self) -> list[tuple[int, int, Any]]:
        return [(pid, packet.number, packet.body) for pid, packet in self.sent if packet.op == "reply"]

    def answer(self, body: Any) -> Packet:
        """Answer the latest request."""
        return Packet("reply", self.sent[-1][1].number, body)


def counted(value: str) -> list[list[Any]]:
    return [["gateway_requests", "", "counter", [["gateway_requests_total", {}, value]]]]


def test_the_asker_is_told_once_all_have_answered() -> None:
    sent = SentPackets()
    asking = ScatterGather(sent)
    asking.scatter(ASKER, NUMBER, Packet("metrics"), {1, 2})
    first, second = counted("1.0"), counted("2.0")
    answers = sent.answer(first), sent.answer(second)
    assert sorted(sent.asked) == [1, 2]
    asking.gather(1, answers[0])
    assert sent.answered == []
    asking.gather(2, answers[1])
    assert sent.answered == [(ASKER, NUMBER, counted("3.0"))]
    asking.gather(2, answers[1])
    assert len(sent.answered) == 1


def test_who_is_lost_is_not_waited_for_and_what_it_counted_stays() -> None:
    sent = SentPackets()
    asking = ScatterGather(sent)
    asking.scatter(ASKER, NUMBER, Packet("metrics"), {1, 2})
    asking.gather(1, sent.answer(counted("1.0")))
    asking.remove_worker(2)
    asking.remove_worker(1)
    asking.scatter(ASKER, NUMBER + 1, Packet("metrics"), set())
    assert sent.answered == [(ASKER, NUMBER, counted("1.0")), (ASKER, NUMBER + 1, counted("1.0"))]


def test_who_is_silent_is_waited_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, now = SentPackets(), 1000.0
    monkeypatch.setattr("gateway.workers.scatter_gather.time.monotonic", lambda: now)
    asking = ScatterGather(sent)
    asking.scatter(ASKER, NUMBER, Packet("lead_status"), {1, 2})
    asking.gather(1, sent.answer({"enabled": True}))
    now += scatter_gather.TIMEOUT_SECONDS
    asking.expire()
    assert sent.answered == []
    now += 0.001
    asking.expire()
    assert sent.answered == [(ASKER, NUMBER, {"enabled": True})]


def test_nobody_to_ask_is_an_answer() -> None:
    sent = SentPackets()
    ScatterGather(sent).scatter(ASKER, NUMBER, Packet("lead_status"), set())
    assert sent.answered == [(ASKER, NUMBER, None)]
