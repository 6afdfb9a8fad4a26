"""A log handler that checks how every request ended, and collects errors that the gateway logs."""

import logging
from collections import Counter

from gateway.lifecycle import TRANSITIONS, State
from gateway.telemetry.request_record import RequestRecord

_LOGGERS = ("gateway", "asyncio")
_TERMINAL = {state.value for state, successors in TRANSITIONS.items() if not successors}


class Recorder(logging.Handler):
    """Replaces the request log between ``open`` and ``close``. Errors logged by the gateway are ``problems``."""

    def __init__(self) -> None:
        super().__init__()
        self._log = logging.getLogger("gateway.requests")
        self._level = self._log.level
        self._ids: set[int] = set()
        self.ends: Counter[str] = Counter()
        self.problems: list[str] = []

    def open(self) -> None:
        self._log.addHandler(self)
        self._log.setLevel(logging.INFO)
        self._log.propagate = False
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(self)

    def close(self) -> None:
        self._log.removeHandler(self)
        self._log.setLevel(self._level)
        self._log.propagate = True
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, RequestRecord):
            self._record_end(record.msg)
        elif record.levelno >= logging.ERROR:
            raised = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else "nothing raised"
            self.problems.append(f"{record.name}: {record.getMessage()[:500]} ({raised})")

    def _record_end(self, request: RequestRecord) -> None:
        if hash(request.id) in self._ids:
            self.problems.append(f"{request.id} ended twice")
        self._ids.add(hash(request.id))
        self.ends[_summary(request)] += 1
        if request.state is not None and request.state not in _TERMINAL:
            self.problems.append(f"{request.id} ended in state {request.state}")
        if request.state == State.SETTLED and not request.client_left and request.status >= 400:
            self.problems.append(f"{request.id} was charged for status {request.status}")
        if request.state is None and not request.client_left and not request.status:
            self.problems.append(f"{request.id} ended without a status")
        if request.status == 500:
            self.problems.append(f"{request.id} failed inside the gateway")

    def missing(self, requests: set[int]) -> int:
        """The number of these hashes of request ids that have not ended."""
        return len(requests - self._ids)


def _summary(request: RequestRecord) -> str:
    who = "client left" if request.client_left else str(request.status)
    return f"{request.state or 'no exchange'}, {who}"
