"""The upstream response when its client disconnects or stops reading (design 4.5)."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import dispatch
from gateway.catalog import Traits
from gateway.dispatch import Dispatch
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.usage import Usage
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import UpstreamCall

QUICK, LATER = 0.05, 30.0


class UpstreamResponse:
    """An upstream response in progress; ``calls`` records the calls made to it."""

    def __init__(self, *, paused: bool) -> None:
        self.paused = paused
        self.calls: list[str] = []

    def close(self) -> None:
        self.calls.append("close")

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


class Reply:
    def watch(
        self,
        *,
        on_disconnect: Callable[[], None],
        on_pause_writing: Callable[[], None],
        on_resume_writing: Callable[[], None],
    ) -> None:
        self.leave, self.full, self.drained = on_disconnect, on_pause_writing, on_resume_writing


@pytest.fixture(params=[False, True], ids=["read", "held"])
def answer(request: pytest.FixtureRequest) -> UpstreamResponse:
    return UpstreamResponse(paused=request.param)


def watched(answer: UpstreamResponse, *, stops_billing: bool) -> Reply:
    upstream: Any = SimpleNamespace(provider=SimpleNamespace(stops_billing_on_close=stops_billing))
    nothing: Any = None
    reply: Any = Reply()
    watching: Any = answer
    Dispatch(upstream, [], nothing, nothing)._watch_client(reply, watching)
    assert isinstance(reply, Reply)
    return reply


async def test_a_vendor_that_bills_on_is_heard_to_the_end(
    answer: UpstreamResponse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a slow client had paused it; only up to the timeout."""
    monkeypatch.setattr(dispatch, "USAGE_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(dispatch, "DRAIN_SECONDS", LATER)
    watched(answer, stops_billing=False).leave()
    await asyncio.sleep(QUICK)
    assert answer.calls == ["resume"]
    monkeypatch.setattr(dispatch, "DRAIN_SECONDS", 0.0)
    watched(answer, stops_billing=False).leave()
    await asyncio.sleep(QUICK)
    assert answer.calls == ["resume", "resume", "close"]


async def test_a_vendor_that_then_stops_has_a_moment_for_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "DRAIN_SECONDS", LATER)
    answer = UpstreamResponse(paused=False)
    monkeypatch.setattr(dispatch, "USAGE_GRACE_SECONDS", LATER)
    watched(answer, stops_billing=True).leave()
    await asyncio.sleep(QUICK)
    assert "close" not in answer.calls
    monkeypatch.setattr(dispatch, "USAGE_GRACE_SECONDS", 0.0)
    watched(answer, stops_billing=True).leave()
    await asyncio.sleep(QUICK)
    assert answer.calls[-1] == "close"


async def test_of_one_that_was_held_back_there_is_more_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "USAGE_GRACE_SECONDS", LATER)
    answer = UpstreamResponse(paused=True)
    watched(answer, stops_billing=True).leave()
    assert answer.calls == ["close"]


@pytest.mark.parametrize("stops_billing", [True, False])
async def test_a_client_that_cannot_keep_up_holds_its_vendor_back(
    answer: UpstreamResponse, stops_billing: bool
) -> None:
    reply = watched(answer, stops_billing=stops_billing)
    reply.full()
    reply.drained()
    assert answer.calls == ["pause", "resume"]


@pytest.mark.parametrize(
    ("earlier", "resent", "thought"),
    [([], 0.0, True), ([], 20.0, True), ([], 29.0, False), ([Usage(completion_tokens=900)], 0.0, False)],
    ids=["sent once", "sent again", "sent again just before", "resumed"],
)
async def test_only_the_time_before_the_first_output_is_taken_for_reasoning(
    earlier: list[Usage], resent: float, thought: bool
) -> None:
    """Not the pauses before it was sent again. The reasoning of a paused turn has been reported with it."""
    call = UpstreamCall("/", b"", stream=True, resent=resent)
    chat: Any = SimpleNamespace(
        body={},
        request=SimpleNamespace(thinking=None, reasoning_effort="high"),
        model=SimpleNamespace(traits=Traits(thinking="adaptive")),
    )
    upstream: Any = None
    record = RequestRecord(id="r", method="POST", path="/", started=0.0, first_byte_seconds=30.0, last_output=31.0)
    dispatch = Dispatch(upstream, [(chat, call)], Assembler(), record)
    dispatch._started, dispatch._usages = record.started, earlier
    dispatch._add_usage(chat, complete=False)
    assert (dispatch.usages()[-1].reasoning_tokens > 0) is thought
