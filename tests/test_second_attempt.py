"""The retry of an upstream call, and the prelude of its answer."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.dispatch import Dispatch, _AnswerFailedError, _with_prelude
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta, Text, UpstreamMetadata
from gateway.openai_api.errors import GatewayError, upstream_error
from gateway.openai_api.usage import Usage
from gateway.telemetry.request_record import RequestRecord

CHAT: Any = SimpleNamespace(body={})


def failure() -> GatewayError:
    """Another one each time: an error keeps what it was raised through, here a dispatch, as long as it lives."""
    return upstream_error("upstream_error", "failed")


class Attempts:
    """A dispatch whose attempts fail as scripted; None is a success."""

    def __init__(self, *failures: GatewayError | None, retryable: bool = True) -> None:
        transport = SimpleNamespace(should_retry=lambda error: retryable, retry_delay=lambda error, attempt: 0.0)
        upstream: Any = SimpleNamespace(transport=transport)
        self.record = RequestRecord("req_1", "POST", "/v1/chat/completions")
        self.assembler = Assembler()
        self.dispatch = Dispatch(upstream, [], self.assembler, self.record)
        self.failures = list(failures)
        self.made = 0
        self.chunks = 0
        self.metered: list[tuple[Usage | None, int, Any]] = []
        self.dispatch._receive = self._receive  # type: ignore[method-assign]

    async def _receive(self, chat: Any, call: Any, consume: Any, reply: Any) -> bool:
        self.made += 1
        self.metered.append((self.assembler.usage, self.assembler.output_bytes, self.dispatch._unmetered))
        self.dispatch._unmetered = chat
        self.assembler.usage, self.assembler.output_bytes = Usage(prompt_tokens=7), 9
        self.record.chunks = (self.record.chunks or 0) + self.chunks or None
        if (failure := self.failures.pop(0)) is not None:
            raise _AnswerFailedError(failure)
        return True

    async def make(self, reply: Any = None) -> bool:
        call: Any = None
        return await self.dispatch._call_with_retry(CHAT, call, lambda batch: None, reply)


async def test_a_failed_answer_is_asked_for_once_more_and_nothing_of_it_is_metered() -> None:
    attempts = Attempts(failure(), None)
    assert await attempts.make() is True
    assert attempts.metered == [(None, 0, None)] * 2


async def test_a_second_failure_is_the_answer() -> None:
    attempts = Attempts(failure(), second := failure(), None)
    with pytest.raises(GatewayError) as failed:
        await attempts.make(SimpleNamespace(disconnected=False))
    assert (failed.value, attempts.made) == (second, 2)


@pytest.mark.parametrize(
    ("reply", "chunks", "retryable"),
    [
        (SimpleNamespace(disconnected=True), 0, True),
        (SimpleNamespace(disconnected=False), 1, True),
        (None, 0, False),
    ],
    ids=["the client has left", "something was forwarded", "it would not help"],
)
async def test_nothing_is_asked_for_twice(reply: Any, chunks: int, retryable: bool) -> None:
    attempts = Attempts(first := failure(), None, retryable=retryable)
    attempts.chunks = chunks
    with pytest.raises(GatewayError) as failed:
        await attempts.make(reply)
    assert (failed.value, attempts.made) == (first, 1)
    assert attempts.dispatch._unmetered is CHAT


async def test_what_earlier_calls_forwarded_does_not_count() -> None:
    attempts = Attempts(failure(), None)
    attempts.record.chunks = 5
    assert await asyncio.wait_for(attempts.make(), 10) is True
    assert attempts.made == 2


def test_a_prelude_comes_once_before_the_first_output_and_is_not_metered() -> None:
    assembler, batches = Assembler(), list[list[Delta]]()

    def consume(batch: list[Delta]) -> None:
        batches.append(batch)
        assembler.extend(batch)

    with_prelude = _with_prelude([Text("echo")], consume, assembler)
    told: list[Delta] = [UpstreamMetadata(model="m"), Usage(prompt_tokens=1)]
    upstream: list[list[Delta]] = [told, [Usage(prompt_tokens=2), Text("ab")], [Text("c")]]
    for batch in upstream:
        with_prelude(batch)
    assert batches == [told, [Text("echo")], [Usage(prompt_tokens=2), Text("ab")], [Text("c")]]
    assert assembler.output_bytes == len("abc")
