"""The upstream calls of one request: sent, bounded in time, retried, resumed after pauses, and metered."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec

from gateway.billing.usage_estimate import estimate, hidden_reasoning
from gateway.http_server.stream_reply import StreamReply
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta, Finish, Paused, UpstreamMetadata
from gateway.openai_api.errors import GatewayError, upstream_timeout
from gateway.openai_api.usage import Usage
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Chat, UpstreamCall
from gateway.upstreams.upstream import UPSTREAM_REQUEST_ID, Consumer, Upstream, UpstreamResponse

DRAIN_SECONDS = 120.0
"""How long an answer is still read after the client has left, from a vendor that bills it in full."""
USAGE_GRACE_SECONDS = 0.5
"""The same for a vendor that stops billing on close: enough to read the usage of an answer whose text is complete."""
MAX_PAUSES = 4
Prelude = Callable[[int], list[Delta]]


class Dispatch:
    """Runs one upstream call, or one per prompt of a legacy list.

    ``deadline`` is the loop time at which an answer is cut. ``prelude`` gives the deltas that precede the answer to the
    n-th call. When ``consume`` returns, the batch must be in the assembler and the time it took in the record: usage is
    read from the one, upstream time computed from the other.
    """

    def __init__(
        self,
        upstream: Upstream,
        calls: list[tuple[Chat, UpstreamCall]],
        assembler: Assembler,
        record: RequestRecord,
        *,
        deadline: float | None = None,
        prelude: Prelude | None = None,
    ) -> None:
        self._upstream = upstream
        self._calls = calls
        self._assembler = assembler
        self._record = record
        self._deadline = deadline
        self._prelude = prelude
        self._expired = False
        self._drain_timer: asyncio.TimerHandle | None = None
        self._usages: list[Usage] = []
        self._unmetered: Chat | None = None
        """The chat of the call whose usage is not yet in ``_usages``."""
        self._started = 0.0
        """When the latest call was sent, by ``time.perf_counter``."""

    def usages(self) -> list[Usage]:
        """The usage of each call made, estimated where the vendor did not report it or the call was cut short."""
        if self._unmetered is not None:
            self._add_usage(self._unmetered, complete=False, failed=not self._expired)
        return self._usages

    async def run(self, consume: Consumer, reply: StreamReply | None) -> None:
        """Pass the deltas of all calls to ``consume`` as they arrive, their choices numbered consecutively.

        Returns early if the client has disconnected. Raises GatewayError.
        """
        for position, (chat, call) in enumerate(self._calls):
            consume_call = _with_choice_offset(consume, position * chat.request.choices) if position else consume
            if self._prelude is not None:
                consume_call = _with_prelude(self._prelude(position), consume_call, self._assembler)
            self._started = started = time.perf_counter()
            own = self._record.own_seconds
            try:
                if not await self._call_with_retry(chat, call, consume_call, reply):
                    return
                if chat.paused is not None:
                    await self._resume_paused(chat, consume_call, reply)
            finally:
                self._add_upstream_time(started, own)
            if reply is not None and reply.disconnected:
                return

    async def _call_with_retry(
        self, chat: Chat, call: UpstreamCall, consume: Consumer, reply: StreamReply | None
    ) -> bool:
        """Make one call; retry it once if its answer fails with a retryable error before anything was forwarded.

        False if the client disconnected before the upstream answered.
        """
        forwarded = self._record.chunks
        try:
            return await self._receive(chat, call, consume, reply)
        except _AnswerFailedError as failure:
            error, transport = failure.error, self._upstream.transport
            gone = reply is not None and reply.disconnected
            if gone or self._record.chunks != forwarded or not transport.should_retry(error):
                raise error from None
            await asyncio.sleep(transport.retry_delay(error, 0))
        self._discard_call()
        self._started = time.perf_counter()
        try:
            return await self._receive(chat, call, consume, reply)
        except _AnswerFailedError as failure:
            failure.error.attempts = 2
            raise failure.error from None
        except GatewayError as error:
            error.attempts = 1 + (error.attempts or 1)
            raise

    async def _receive(self, chat: Chat, call: UpstreamCall, consume: Consumer, reply: StreamReply | None) -> bool:
        """Make one call and pass on its answer; False if the client disconnected before the upstream answered.

        Raises GatewayError if the upstream does not answer, _AnswerFailedError if its answer fails.
        """
        response = await self._open(chat, call, reply)
        if response is None:
            if not self._usages:
                self._add_usage(chat, complete=False)
            return False
        self._unmetered = chat
        self._record.upstream_request_id = response.request_id
        await self._read(chat, response, consume, reply)
        if self._expired:
            raise _deadline_exceeded()
        self._add_usage(chat, complete=response.complete)
        return True

    async def _read(self, chat: Chat, response: UpstreamResponse, consume: Consumer, reply: StreamReply | None) -> None:
        """Pass on an answer, to its end or the deadline, or until its client has left. Raises _AnswerFailedError."""
        if reply is not None:
            if (request_id := self._record.upstream_request_id) is not None and not reply.committed:
                reply.response.headers[UPSTREAM_REQUEST_ID] = request_id
            self._watch_client(reply, response)
        deadline_timer = None if self._deadline is None else self._close_at(self._deadline, response.close)
        try:
            await response.run(_capturing_pause(chat, consume) if chat.may_pause else consume)
        except GatewayError as error:
            raise _AnswerFailedError(error) from None
        finally:
            if reply is not None:
                reply.unwatch()
            for timer in (deadline_timer, self._drain_timer):
                if timer is not None:
                    timer.cancel()

    async def _resume_paused(self, chat: Chat, consume: Consumer, reply: StreamReply | None) -> None:
        """Request the rest of a paused answer; one that cannot be completed finishes with ``length``."""
        for _ in range(MAX_PAUSES):
            paused, forwarded = chat.paused, self._record.chunks
            try:
                call = self._upstream.adapter(chat).build_request(chat)
                if not await self._call_with_retry(chat, call, consume, reply) or chat.paused is paused:
                    return
            except GatewayError:
                if self._record.chunks != forwarded:
                    raise
                self._discard_call()
                break
        consume([Finish("length")])

    def _discard_call(self) -> None:
        """Drop what was metered of a call of which nothing was forwarded: nobody pays for it."""
        self._unmetered = None
        self._assembler.usage, self._assembler.output_bytes = None, 0

    def _add_upstream_time(self, started: float, own: float) -> None:
        """Add the time since ``started``, less what the consumer has recorded as its own since then."""
        record = self._record
        if record.dispatched is None:
            record.dispatched = started
        record.answered = now = time.perf_counter()
        record.upstream_seconds = (record.upstream_seconds or 0.0) + now - started - (record.own_seconds - own)

    async def _open(self, chat: Chat, call: UpstreamCall, reply: StreamReply | None) -> UpstreamResponse | None:
        """Send one call; None if the client disconnected before the answer and the vendor then does not bill."""
        if reply is None and self._deadline is None:
            return await self._upstream.open(chat, call)
        try:
            async with asyncio.timeout_at(self._deadline) as timeout:
                if reply is not None and self._upstream.provider.stops_billing_on_close:
                    reply.watch(on_disconnect=partial(_expire, timeout))
                return await self._upstream.open(chat, call)
        except TimeoutError:
            if reply is not None and reply.disconnected:
                return None
            raise _deadline_exceeded() from None
        finally:
            if reply is not None:
                reply.unwatch()

    def _close_at(self, deadline: float, close: Callable[[], None]) -> asyncio.TimerHandle:
        """Cut the answer at ``deadline``, while there is still time to settle it."""

        def expire() -> None:
            self._expired = True
            close()

        return asyncio.get_running_loop().call_at(deadline, expire)

    def _watch_client(self, reply: StreamReply, response: UpstreamResponse) -> None:
        """Pass the client's backpressure and disconnect on to the upstream.

        After a disconnect the answer is read on for a while, since it may still report its exact usage, hidden
        reasoning included (design 4.5). It is closed at once if reading was paused, because much of it is still to
        come then, and the vendor stops billing on close.
        """
        stops_billing = self._upstream.provider.stops_billing_on_close

        def on_disconnect() -> None:
            if stops_billing and response.paused:
                response.close()
                return
            response.resume_reading()
            delay = USAGE_GRACE_SECONDS if stops_billing else DRAIN_SECONDS
            self._drain_timer = asyncio.get_running_loop().call_later(delay, response.close)

        reply.watch(
            on_disconnect=on_disconnect,
            on_pause_writing=response.pause_reading,
            on_resume_writing=response.resume_reading,
        )

    def _add_usage(self, chat: Chat, *, complete: bool, failed: bool = False) -> None:
        """Record the usage of one call; what the vendor did not report is estimated.

        Of a call that was cut short, and did not fail, vendors bill the reasoning that they do not show.
        """
        usage = self._assembler.usage
        if usage is None or usage.estimated or not complete:
            assembler = self._assembler
            usage = usage or Usage(tier=assembler.metadata.service_tier or "")
            hidden = 0 if complete or failed else self._hidden_reasoning(chat)
            usage = estimate(chat.body, assembler.output_bytes, usage, len(assembler.images), hidden)
        self._usages.append(usage)
        self._discard_call()

    def _hidden_reasoning(self, chat: Chat) -> int:
        """Estimate the tokens of reasoning before the first output, or so far if there is none yet.

        Only for a single call of a model that reasons. Not for the rest of a paused answer: the first output was that
        of its first part, whose reasoning has been counted.
        """
        record = self._record
        if self._usages or len(self._calls) > 1 or not _reasons(chat):
            return 0
        first_output = last_output = time.perf_counter()
        if record.first_byte_seconds is not None and record.last_output is not None:
            first_output, last_output = record.started + record.first_byte_seconds, record.last_output
        sent = max(self._started, self._calls[0][1].resent)
        return hidden_reasoning(first_output - sent, last_output - first_output, self._assembler.output_bytes)


class _AnswerFailedError(Exception):
    """The upstream's answer failed after its headers had arrived."""

    def __init__(self, error: GatewayError) -> None:
        self.error = error


def _capturing_pause(chat: Chat, consume: Consumer) -> Consumer:
    """``consume`` for an answer that may end in a ``Paused`` delta, which goes to ``chat.paused`` instead."""

    def capture(batch: list[Delta]) -> None:
        if batch and isinstance(batch[-1], Paused):
            chat.paused = batch[-1]
            batch = batch[:-1]
        consume(batch)

    return capture


def _reasons(chat: Chat) -> bool:
    """Whether the model reasons before it answers, by the request or by default."""
    request, traits = chat.request, chat.model.traits
    if traits.thinking == "none":
        return not traits.thinking_off
    if request.thinking is not None:
        return request.thinking.get("type") != "disabled"
    return (request.reasoning_effort or traits.default_effort) != "none"


def _expire(timeout: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it is expiring already
        timeout.reschedule(0)


def _deadline_exceeded() -> GatewayError:
    return upstream_timeout("The response was truncated because the payment deadline is near")


def _with_prelude(prelude: list[Delta], consume: Consumer, assembler: Assembler) -> Consumer:
    """``consume`` with ``prelude`` before the first output delta; the prelude itself is not metered as output.

    Metadata in the same batch goes before the prelude: the first chunk of a stream names the model.
    """

    def prepend(batch: list[Delta]) -> None:
        if prelude and any(not isinstance(delta, UpstreamMetadata | Usage) for delta in batch):
            reported: list[Delta] = [delta for delta in batch if isinstance(delta, UpstreamMetadata)]
            consume(reported + prelude)
            prelude.clear()
            assembler.output_bytes = 0
        consume(batch)

    return prepend


def _with_choice_offset(consume: Consumer, offset: int) -> Consumer:
    """``consume`` with ``offset`` added to the choice index of every delta."""

    def shift(batch: list[Delta]) -> None:
        consume(
            [
                msgspec.structs.replace(delta, choice=delta.choice + offset) if hasattr(delta, "choice") else delta
                for delta in batch
            ]
        )

    return shift
