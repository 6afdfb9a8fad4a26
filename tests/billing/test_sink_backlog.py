"""The backlog of a sink: what it could not take is appended later, the newest entry of a payment last."""

from collections.abc import Callable

import msgspec
import pytest

from gateway.billing.journal import Entry, State
from gateway.billing.storage import sink_backlog
from gateway.billing.storage.sink import SinkTimeoutError, SinkUnavailableError
from gateway.billing.storage.sink_backlog import SinkBacklog
from tests.billing.entries import entry
from tests.waiting import until

SERVING = entry(state=State.SERVING)
SETTLING = msgspec.structs.replace(SERVING, state=State.SETTLING)


class ScriptedSink:
    """Raises the errors of ``script`` in turn, then appends. ``before`` runs at the start of each append."""

    def __init__(self, *script: Exception) -> None:
        self.appended: list[Entry] = []
        self.before: Callable[[], None] = lambda: None
        self._script = list(script)

    async def append(self, payment: Entry) -> None:
        self.before()
        if self._script:
            raise self._script.pop(0)
        self.appended.append(payment)


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_backlog, "_FIRST_BACKOFF", 0.001)
    monkeypatch.setattr(sink_backlog, "_MAX_BACKOFF", 0.001)


async def test_an_entry_replaced_while_it_is_appended_is_appended_again() -> None:
    sink = ScriptedSink()
    backlog = SinkBacklog(sink.append)

    def replace_once() -> None:
        sink.before = lambda: None
        backlog.add(SETTLING)

    sink.before = replace_once
    backlog.add(SERVING)
    await until(lambda: len(sink.appended) == 2)
    assert sink.appended == [SERVING, SETTLING]
    await backlog.close()
    assert len(sink.appended) == 2


@pytest.mark.parametrize(("error", "timed_out"), [(SinkTimeoutError, True), (SinkUnavailableError, False)])
async def test_a_failed_retry_says_whether_others_need_wait(error: type[SinkUnavailableError], timed_out: bool) -> None:
    """An error is a response: others may try for themselves. A timeout is not, until the sink responds again."""
    sink = ScriptedSink(*[error("away")] * 3)
    backlog = SinkBacklog(sink.append)
    backlog.timed_out = not timed_out
    seen: list[bool] = []
    sink.before = lambda: seen.append(backlog.timed_out)
    backlog.add(SERVING)
    await until(lambda: bool(sink.appended))
    assert seen == [not timed_out, timed_out, timed_out, timed_out]
    assert not backlog.timed_out
    await backlog.close()


async def test_the_oldest_entry_is_dropped_when_the_backlog_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_backlog, "_MAX_ENTRIES", 2)
    sink = ScriptedSink()
    backlog = SinkBacklog(sink.append)
    oldest, *kept = (entry() for _ in range(3))
    for each in (oldest, *kept):
        backlog.add(each)
    await backlog.close()
    assert sink.appended == kept
