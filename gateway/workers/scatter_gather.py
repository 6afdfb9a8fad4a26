"""Questions that the supervisor asks workers for one of them: their answers together, or what there is in time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.workers.channel import Packet
from gateway.workers.metrics import Total

SECONDS = 20.0
"""How long a question goes round."""


@dataclass
class _Round:
    """``left`` have still to answer before ``until``."""

    asker: int
    number: int
    op: str
    left: set[int]
    until: float
    answers: list[Any] = field(default_factory=list)


class Rounds:
    """Workers are known by their process ids. ``send`` tells one something, if it is still there."""

    def __init__(self, send: Callable[[int, Packet], None]) -> None:
        self._send = send
        self._open: dict[int, _Round] = {}
        self._next = 1
        self._metrics = Total()

    def open(self, asker: int, number: int, question: Packet, asked: set[int]) -> None:
        """Ask; ``asker`` is answered under ``number``, at once where nobody is asked."""
        identity, self._next = self._next, self._next + 1
        self._open[identity] = _Round(asker, number, question.op, asked, time.monotonic() + SECONDS)
        for pid in list(asked):
            self._send(pid, Packet(question.op, identity, question.body))
        self._end_if_complete(identity)

    def take(self, pid: int, answer: Packet) -> None:
        """One that comes too late is of no use."""
        if (current := self._open.get(answer.number)) is not None:
            current.left.discard(pid)
            current.answers.append(answer.body)
            if current.op == "metrics" and answer.body is not None:
                self._metrics.take(pid, answer.body)
            self._end_if_complete(answer.number)

    def lose(self, pid: int) -> None:
        """The worker is gone and will not answer."""
        self._metrics.lose(pid)
        for identity in list(self._open):
            self._open[identity].left.discard(pid)
            self._end_if_complete(identity)

    def end_overdue(self) -> None:
        """Who has not answered in time is waited for no longer."""
        now = time.monotonic()
        for identity, current in list(self._open.items()):
            if current.until < now:
                current.left.clear()
                self._end_if_complete(identity)

    def _end_if_complete(self, identity: int) -> None:
        current = self._open[identity]
        if not current.left:
            del self._open[identity]
            self._send(current.asker, Packet("answer", current.number, self._result(current)))

    def _result(self, ended: _Round) -> Any:
        """What the asker is told."""
        match ended.op:
            case "injected":
                return True
            case "metrics":
                return self._metrics.dump()
        return ended.answers[0] if ended.answers else None
