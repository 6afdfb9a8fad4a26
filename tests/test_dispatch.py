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
from gateway.openai_api.deltas import UpstreamMetadata
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
    dispatch = reasoning(resent)
    dispatch._usages = earlier
    dispatch._add_usage(dispatch._calls[0][0], complete=False)
    assert (dispatch.usages()[-1].reasoning_tokens > 0) is thought


def reasoning(resent: float = 0.0) -> Dispatch:
    """A call whose first output came after 30 seconds, 200 bytes in the next two."""
    call = UpstreamCall("/", b"", stream=True, resent=resent)
    chat: Any = SimpleNamespace(
        body={},
        request=SimpleNamespace(thinking=None, reasoning_effort="high"),
        model=SimpleNamespace(traits=Traits(thinking="adaptive")),
    )
    upstream: Any = None
    record = RequestRecord(id="r", method="POST", path="/", started=0.0, first_byte_seconds=30.0, last_output=32.0)
    assembler = Assembler()
    assembler.output_bytes = 800
    dispatch = Dispatch(upstream, [(chat, call)], assembler, record)
    dispatch._started = record.started
    return dispatch


async def test_reasoning_took_its_time_at_the_speed_of_the_output() -> None:
    """Of 30 seconds two are the prompt's; 100 tokens a second followed."""
    dispatch = reasoning()
    dispatch._add_usage(dispatch._calls[0][0], complete=False)
    assert dispatch.usages()[-1].reasoning_tokens == (30 - 2) * 100


async def test_what_is_estimated_is_of_the_tier_that_answered() -> None:
    dispatch = reasoning()
    dispatch._assembler.metadata = UpstreamMetadata(service_tier="priority")
    dispatch._add_usage(dispatch._calls[0][0], complete=True)
    assert dispatch.usages()[-1].tier == "priority"


@pytest.mark.parametrize("expired", [True, False])
async def test_the_reasoning_of_an_answer_that_failed_costs_nothing(expired: bool) -> None:
    """That of one which was cut at the payment's deadline does: the vendor bills it."""
    dispatch = reasoning()
    dispatch._unmetered, dispatch._expired = dispatch._calls[0][0], expired
    assert (dispatch.usages()[-1].reasoning_tokens > 0) is expired


async def test_who_leaves_before_the_answer_begins_pays_for_the_reasoning() -> None:
    async def never(*_: object) -> None:
        await asyncio.sleep(LATER)

    upstream: Any = SimpleNamespace(provider=SimpleNamespace(stops_billing_on_close=True), open=never)
    left: Any = SimpleNamespace(watch=lambda on_disconnect: on_disconnect(), unwatch=lambda: None, disconnected=True)
    consume: Any = None
    dispatch = reasoning()
    dispatch._upstream = upstream
    assert not await dispatch._receive(*dispatch._calls[0], consume, left)
    assert dispatch.usages()[-1].reasoning_tokens > 0
