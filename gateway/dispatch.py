"""The upstream calls of one request, in turn: opened, bounded in time, left, and accounted for."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec

from gateway.billing.usage import estimate
from gateway.http_server.stream_reply import StreamReply
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta, Finish, Paused, Served
from gateway.openai_api.errors import GatewayError, upstream_timeout
from gateway.openai_api.usage import Usage
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Chat, UpstreamCall
from gateway.upstreams.upstream import UPSTREAM_REQUEST_ID, Answering, Consume, Upstream

DRAIN_SECONDS = 120.0
LAST_WORDS_SECONDS = 0.5
"""For a vendor that stops billing when it is left: enough to end an answer whose text is out, and little more."""
MAX_PAUSES = 4
Prelude = Callable[[int], list[Delta]]


class Dispatch:
    """One call, or one per prompt of a legacy list.

    ``deadline`` is the loop time at which answers are cut. ``prelude`` are deltas that precede the answer to the
    n-th call. Every batch must have reached the assembler when ``consume`` returns, and the time that took the record:
    usage is taken from the one, the upstream's time from the other.
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
        self._draining: asyncio.TimerHandle | None = None
        self._usages: list[Usage] = []
        self._asked: Chat | None = None

    def usages(self) -> list[Usage]:
        """Of each call that was made; what the vendor did not report, or was not asked to the end, is estimated."""
        if self._asked is not None:
            self._take_usage(self._asked, complete=False)
        return self._usages

    async def run(self, consume: Consume, reply: StreamReply | None) -> None:
        """Hand the deltas of all upstream calls to ``consume`` as they arrive, choices numbered through.

        Returns early when the client has left. Raises GatewayError.
        """
        for position, (chat, call) in enumerate(self._calls):
            take = _shifting(consume, position * chat.request.choices) if position else consume
            if self._prelude is not None:
                take = _preceded(self._prelude(position), take, self._assembler)
            started, own = time.perf_counter(), self._record.own_seconds
            try:
                if not await self._ask(chat, call, take, reply):
                    return
                if chat.paused is not None:
                    await self._go_on(chat, take, reply)
            finally:
                self._add_time(started, own)
            if reply is not None and reply.disconnected:
                return

    async def _ask(self, chat: Chat, call: UpstreamCall, take: Consume, reply: StreamReply | None) -> bool:
        """One call, tried once more when its answer fails in a way that may pass and nothing of it was forwarded.

        False when the client left before it was answered.
        """
        forwarded = self._record.chunks
        try:
            return await self._hear(chat, call, take, reply)
        except _FaultError as fault:
            error, transport = fault.error, self._upstream.transport
            gone = reply is not None and reply.disconnected
            if gone or self._record.chunks != forwarded or not transport.worth_another(error):
                raise error from None
            await asyncio.sleep(transport.pause(error, 0))
        self._forget_call()
        try:
            return await self._hear(chat, call, take, reply)
        except _FaultError as fault:
            raise fault.error from None

    async def _hear(self, chat: Chat, call: UpstreamCall, take: Consume, reply: StreamReply | None) -> bool:
        """Raises GatewayError when the vendor does not answer, _FaultError when its answer fails."""
        if reply is None and self._deadline is None:
            answering: Answering | None = await self._upstream.open(chat, call)
        else:
            answering = await self._open_in_time(chat, call, reply)
        if answering is None:
            return False
        self._asked = chat
        self._record.upstream_request_id = request_id = answering.request_id
        if reply is not None:
            if request_id is not None and not reply.committed:
                reply.response.headers[UPSTREAM_REQUEST_ID] = request_id
            self._watch(reply, answering)
        alarm = None if self._deadline is None else self._set_alarm(self._deadline, answering.close)
        try:
            await answering.run(_pausing(chat, take) if chat.may_pause else take)
        except GatewayError as error:
            raise _FaultError(error) from None
        finally:
            if reply is not None:
                reply.unwatch()
            for timer in (alarm, self._draining):
                if timer is not None:
                    timer.cancel()
        if self._expired:
            raise _deadline_near()
        self._take_usage(chat, complete=answering.complete)
        return True

    async def _go_on(self, chat: Chat, take: Consume, reply: StreamReply | None) -> None:
        """Ask for the rest of an answer that its vendor has paused. One that cannot go on was cut for length."""
        for _ in range(MAX_PAUSES):
            paused, forwarded = chat.paused, self._record.chunks
            try:
                call = self._upstream.adapter(chat).request(chat)
                if not await self._ask(chat, call, take, reply) or chat.paused is paused:
                    return
            except GatewayError:
                if self._record.chunks != forwarded:
                    raise
                self._forget_call()
                break
        take([Finish("length")])

    def _forget_call(self) -> None:
        """A call of which nothing was forwarded: nobody pays for it."""
        self._asked = None
        self._assembler.usage, self._assembler.produced = None, 0

    def _add_time(self, started: float, own: float) -> None:
        """The upstream's time is what has passed since ``started``, less what the consumer says it took of it."""
        record = self._record
        if record.dispatched is None:
            record.dispatched = started
        record.answered = now = time.perf_counter()
        record.upstream_seconds = (record.upstream_seconds or 0.0) + now - started - (record.own_seconds - own)

    async def _open_in_time(self, chat: Chat, call: UpstreamCall, reply: StreamReply | None) -> Answering | None:
        """Send one call; None when the client left before it was answered and nothing is billed for that."""
        try:
            async with asyncio.timeout_at(self._deadline) as patience:
                if reply is not None and self._upstream.provider.stops_billing_on_close:
                    reply.watch(on_disconnect=partial(_give_up, patience))
                return await self._upstream.open(chat, call)
        except TimeoutError:
            if reply is not None and reply.disconnected:
                return None
            raise _deadline_near() from None
        finally:
            if reply is not None:
                reply.unwatch()

    def _set_alarm(self, deadline: float, close: Callable[[], None]) -> asyncio.TimerHandle:
        """Ends the upstream's answer while there is still time to settle it."""

        def expire() -> None:
            self._expired = True
            close()

        return asyncio.get_running_loop().call_at(deadline, expire)

    def _watch(self, reply: StreamReply, answering: Answering) -> None:
        """A slow client holds the upstream back. One that leaves closes it, after a while in which the answer may still
        tell its exact usage (design 4.5), hidden thoughts included; of one that was held back there is more to come."""
        stops_billing = self._upstream.provider.stops_billing_on_close

        def leave() -> None:
            if stops_billing and answering.paused:
                answering.close()
                return
            answering.resume_reading()
            patience = LAST_WORDS_SECONDS if stops_billing else DRAIN_SECONDS
            self._draining = asyncio.get_running_loop().call_later(patience, answering.close)

        reply.watch(
            on_disconnect=leave, on_pause_writing=answering.pause_reading, on_resume_writing=answering.resume_reading
        )

    def _take_usage(self, chat: Chat, *, complete: bool) -> None:
        """Close the books on one upstream call; what the vendor did not report is estimated."""
        seen = self._assembler.usage
        if seen is None or seen.estimated or not complete:
            assembler = self._assembler
            seen = seen or Usage(tier=assembler.served.service_tier or "")
            seen = estimate(chat.body, assembler.produced, seen, len(assembler.pictures))
        self._usages.append(seen)
        self._forget_call()


class _FaultError(Exception):
    """An answer that failed after it had begun."""

    def __init__(self, error: GatewayError) -> None:
        self.error = error


def _pausing(chat: Chat, take: Consume) -> Consume:
    """``take`` for an answer that may end in a pause, which stays here."""

    def listen(batch: list[Delta]) -> None:
        if batch and isinstance(batch[-1], Paused):
            chat.paused = batch[-1]
            batch = batch[:-1]
        take(batch)

    return listen


def _give_up(patience: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it has run out in this very moment
        patience.reschedule(0)


def _deadline_near() -> GatewayError:
    return upstream_timeout("The payment's deadline is near; the answer was cut here")


def _preceded(prelude: list[Delta], consume: Consume, assembler: Assembler) -> Consume:
    """``consume`` with ``prelude`` before the first output: it is none itself, and nothing where none comes."""

    def take(batch: list[Delta]) -> None:
        if prelude and any(not isinstance(delta, Served | Usage) for delta in batch):
            consume(prelude[:])
            prelude.clear()
            assembler.produced = 0
        consume(batch)

    return take


def _shifting(consume: Consume, offset: int) -> Consume:
    """``consume`` for deltas whose choices start at ``offset``."""

    def shifted(batch: list[Delta]) -> None:
        consume(
            [
                msgspec.structs.replace(delta, choice=delta.choice + offset) if hasattr(delta, "choice") else delta
                for delta in batch
            ]
        )

    return shifted
