"""One request's life: admitted, dispatched, answered, signed, settled.

Both endpoints, streamed and not, go through here; nothing else decides in which order money, work and signature
happen (gateway.lifecycle).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

import msgspec

from gateway.billing.payment import Bill, Order, Payment, Receipt
from gateway.billing.pricing import cost
from gateway.billing.receipt import NO_STORE
from gateway.billing.x402 import PAYMENT_RESPONSE
from gateway.catalog import Model
from gateway.dispatch import Dispatch, Prelude
from gateway.envelope import signed_output
from gateway.forms import Form
from gateway.http_server.stream_reply import StreamReply
from gateway.keccak import keccak256
from gateway.lifecycle import TRANSITIONS, Lifecycle, State
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta, Served
from gateway.openai_api.errors import GatewayError, internal_error, upstream_error
from gateway.openai_api.stream import ChunkEncoder
from gateway.openai_api.usage import Usage
from gateway.services import Services
from gateway.signing import Envelope
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Adapter, Chat, UpstreamCall
from gateway.upstreams.upstream import UPSTREAM_REQUEST_ID, Upstream

log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400


class Answer(msgspec.Struct):
    """A complete answer, ready to send."""

    body: bytes
    headers: dict[str, str]


class Proof(msgspec.Struct, frozen=True):
    """What follows an answer: who gave it, its usage, signature, payment, and what the vendor said of its service."""

    model: Model
    usage: Usage
    envelope: Envelope
    receipt: Receipt
    served: Served

    def fields(self) -> dict[str, Any]:
        """At the top level of a complete answer, and in the last event of a stream."""
        fields: dict[str, Any] = {"usage": self.usage.as_openai(), **self.envelope.fields()}
        if self.served.service_tier is not None:
            fields["service_tier"] = self.served.service_tier
        if self.served.system_fingerprint is not None:
            fields["system_fingerprint"] = self.served.system_fingerprint
        if self.served.moderation is not None:
            fields["moderation"] = self.served.moderation
        if self.receipt.payment is not None:
            fields["payment"] = self.receipt.payment
        return fields

    def headers(self) -> dict[str, str]:
        """Of a complete answer."""
        return {**self.envelope.headers(), **self.receipt.headers}


@lru_cache(maxsize=2)
def _day(number: int) -> date:
    """The UTC date of the day ``number`` since the epoch."""
    return datetime.fromtimestamp(number * _DAY_SECONDS, UTC).date()


class Exchange:
    """One request on its way through the gateway.

    ``sent`` is the caller's request as decoded, which is what the signature covers. ``chats`` are the upstream
    calls it takes: one, or one per prompt of a legacy list. ``prelude`` are deltas that precede the upstream's own
    (``echo``). ``started`` is when the request came, by ``time.perf_counter``.
    """

    def __init__(
        self,
        services: Services,
        form: Form,
        sent: dict[str, Any],
        chats: list[Chat],
        order: Order,
        record: RequestRecord,
        prelude: Prelude | None = None,
    ) -> None:
        self._services = services
        self._form = form
        self._sent = sent
        self._chats = chats
        self._order = order
        self._record = record
        self._prelude = prelude
        self._model: Model = chats[0].model
        self._upstream: Upstream = services.upstreams[self._model.provider]
        self._life = Lifecycle(record)
        self._assembler = Assembler()
        self._id = form.new_id()
        self._created = services.clock()
        self._payment: Payment
        self._calls: list[UpstreamCall] = []
        self._dispatch: Dispatch
        self._encoder: ChunkEncoder
        self._inter_event = services.metrics.inter_event(self._upstream.provider.id)
        record.model, record.upstream = self._model.id, self._upstream.provider.id
        record.answer_id = self._id
        self.started = record.started
        self._fetched = 0

    @property
    def upstream(self) -> str:
        """The id of the provider that answers."""
        return self._upstream.provider.id

    async def broke_off(self, failure: Exception) -> GatewayError:
        """The answer ends in ``failure`` after its status had left; what is told of it in place of the rest."""
        error = failure if isinstance(failure, GatewayError) else await self.failed(failure)
        self._services.metrics.count_failure(self._record, error)
        return error

    async def admit(self) -> None:
        """Everything that can refuse the request before any work: key, translation, payment, files.

        Translated is what is sent if the payment covers all that was asked for, as nearly every one does.
        """
        try:
            self._upstream.require_key()
            adapter = self._upstream.adapter(self._chats[0])
            remote = [url for chat in self._chats for url in adapter.remote_files(chat)]
            expected = None if self._services.settings.payments == "off" else self._order.output_tokens
            for chat in self._chats:
                chat.output_limit = expected
            if not remote:
                self._calls = [adapter.build_request(chat) for chat in self._chats]
            started = time.perf_counter()
            self._payment = await self._services.payments.admit(self._order)
            self._record.payment_seconds = time.perf_counter() - started
        except GatewayError:
            self._life.move(State.REFUSED)
            raise
        self._life.move(State.ADMITTED)
        if remote or self._payment.output_limit != expected:
            await self._prepare(adapter)
        self._dispatch = self._dispatcher()

    def _dispatcher(self) -> Dispatch:
        seconds = self._payment.seconds
        return Dispatch(
            self._upstream,
            list(zip(self._chats, self._calls, strict=True)),
            self._assembler,
            self._record,
            deadline=None if seconds is None else asyncio.get_running_loop().time() + seconds,
            prelude=self._prelude,
        )

    async def _prepare(self, adapter: Adapter) -> None:
        """Translate with what only an admitted request gets: fetched files, and the payment's limit if it is lower."""
        try:
            for chat in self._chats:
                chat.output_limit = self._payment.output_limit
                self._fetched += await self._services.fetcher.attach(chat, adapter.remote_files(chat))
            self._calls = [adapter.build_request(chat) for chat in self._chats]
        except GatewayError as error:
            await self._release("refused", error)
            raise

    def headers(self) -> dict[str, str]:
        """Of both kinds of answer: what was dropped, what the payment says beforehand, the vendor's id if it came."""
        headers = dict(self._payment.headers)
        if self._record.upstream_request_id is not None:
            headers[UPSTREAM_REQUEST_ID] = self._record.upstream_request_id
        if dropped := {name for call in self._calls for name in call.dropped}:
            headers["x-dropped-params"] = ",".join(sorted(dropped))
        limit, wanted = self._payment.output_limit, self._order.output_tokens
        if limit is not None and (wanted is None or limit < wanted):
            headers["x-output-limit"] = str(limit)
        return headers

    def _served(self) -> Model:
        """The model that answered; one that the catalogue does not know counts as the one that was asked for."""
        name = self._assembler.served.model
        if name is None or name == self._model.upstream_id:
            return self._model
        served = self._known(name)
        if served is None:
            self._services.metrics.unknown_served.labels(self._upstream.provider.id).inc()
            self._record.served_model = name
            return self._model
        if served is not self._model:
            self._record.served_model = served.id
        return served

    def _known(self, name: str) -> Model | None:
        """The model of the same vendor that the catalogue knows under ``name``."""
        served = self._services.catalog.get(name)
        return served if served is not None and served.provider == self._model.provider else None

    async def _conclude(self, choices: list[dict[str, Any]], *, complete: bool) -> Proof:
        """Price, sign and settle what was answered."""
        if self._fetched:
            self._forget_files()
        served = self._served()
        now = self._services.clock()
        usage, price = self._total(served, now)
        request_hash = keccak256(self._form.canonical(self._sent))
        envelope = self._services.signer.sign(request_hash, signed_output(choices), now)
        self._life.move(State.SIGNED)
        self._count(usage, str(price))
        bill = Bill(
            model=served,
            usage=usage,
            cost_usd=price,
            complete=complete,
            request_hash=envelope.request_hash,
            output_hash=envelope.output_hash,
            signature=envelope.signature,
            timestamp=envelope.timestamp,
        )
        self._life.move(State.SETTLING)
        started = time.perf_counter()
        try:
            receipt = await self._payment.settle(bill)
        except GatewayError:
            self._life.move(State.REFUSED)
            raise
        finally:
            self._record.payment_seconds = (self._record.payment_seconds or 0.0) + time.perf_counter() - started
        self._life.move(State.SETTLED)
        return Proof(served, usage, envelope, receipt, self._assembler.served)

    def _total(self, served: Model, now: int) -> tuple[Usage, Decimal]:
        """Usage and price in USD of all calls, each priced by itself: long prompts have rates of their own."""
        today = _day(now // _DAY_SECONDS)
        first, *others = self._dispatch.usages()
        price = cost(served, first, today)
        for usage in others:
            first += usage
            price += cost(served, usage, today)
        return first, price

    def _count(self, usage: Usage, price: str) -> None:
        record = self._record
        record.prompt_tokens, record.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        record.estimated = usage.estimated or None
        record.cost_usd = price
        record.finish_reasons = [reason for reason in self._assembler.finish_reasons().values() if reason]
        self._services.metrics.count_usage(self._model.id, self._upstream.provider.id, usage)

    def turn_away(self) -> None:
        """No place was free, or the client left before there was; nothing that was begun is affected."""
        if self._life.state is State.RECEIVED:
            self._life.move(State.REFUSED)

    async def failed(self, fault: Exception) -> GatewayError:
        """What the caller is told of a fault of our own: nobody pays for it, but where the answer was priced already it
        may have been paid for, and asking again would be paid twice."""
        log.error("unhandled error in request %s", self._record.id, exc_info=fault)
        error = internal_error()
        if State.RELEASED in TRANSITIONS[self._life.state]:
            await self._release("gateway_failed", error)
        elif self._life.state is not State.RECEIVED:
            error.should_retry = False
        return error

    async def abandon(self) -> None:
        """Nobody waits for it any more: nobody pays for it."""
        if State.RELEASED in TRANSITIONS[self._life.state]:
            await self._release("gateway_failed")

    def _forget_files(self) -> None:
        """The vendor has them, or will not get them."""
        self._services.fetcher.release(self._fetched)
        self._fetched = 0

    async def _release(self, reason: str, error: GatewayError | None = None) -> None:
        """``error`` is what the caller is told; behind a payment made beforehand it carries the receipt for that."""
        self._life.move(State.RELEASED)
        if self._fetched:
            self._forget_files()
        if error is not None and PAYMENT_RESPONSE in self._payment.headers:
            error.headers |= {**self._payment.headers, **NO_STORE}
            error.should_retry = False
        await self._payment.release(reason)

    async def answer(self, left: Callable[[], bool]) -> Answer | None:
        """The complete answer, signed and settled; None when ``left`` says that nobody waits for it any more.

        Vendors bill a call in full whether the client waits or not, so it is always read to its end; a client that
        saw nothing of it is not charged (facts/x402.md 4 row 5).
        """
        self._life.move(State.DISPATCHED)
        try:
            await self._dispatch.run(self._assembler.extend, None)
        except GatewayError as error:
            await self._release("upstream_failed", error)
            raise
        self._life.move(State.ANSWERING)
        if left():
            self._record.client_left = True
            usage, price = self._total(self._served(), self._services.clock())
            self._count(usage, str(price))
            await self._release("client_left")
            return None
        choices = self._form.choices(self._assembler)
        proof = await self._conclude(choices, complete=True)
        body = {
            "id": self._id,
            "object": self._form.object,
            "created": self._created,
            "model": proof.model.id,
            "choices": choices,
            **self._form.extras(choices),
            **proof.fields(),
        }
        return Answer(msgspec.json.encode(body), {**self.headers(), **proof.headers()})

    async def stream(self, reply: StreamReply) -> bytes:
        """Write the answer as it comes; the last events, which the caller sends to end the stream.

        Raises GatewayError when the upstream breaks: before anything was sent it can still become a status,
        afterwards it is an event in the stream. What was delivered by then is signed and settled all the same.
        """
        self._named, self._encoder = self._model, self._form.encoder(self._id, self._created, self._model.id)
        failure: GatewayError | None = None
        self._life.move(State.DISPATCHED)
        try:
            await self._dispatch.run(partial(self._forward, reply), reply)
        except GatewayError as error:
            failure = error
        else:
            if self._life.state is State.DISPATCHED and not reply.disconnected:
                self._life.move(State.ANSWERING)  # an answer without any output is complete all the same
        if self._life.state is not State.ANSWERING:
            failure = failure or upstream_error("upstream_truncated", "The upstream answered nothing")
            await self._release("client_left" if reply.disconnected else "upstream_failed", failure)
            raise failure
        choices = self._form.choices(self._assembler)
        self._record.client_left = reply.disconnected or None
        proof = await self._conclude(choices, complete=failure is None and not reply.disconnected)
        if failure is not None:
            raise failure
        extra = {**self._form.extras(choices), **proof.fields()}
        if pictures := self._assembler.pictures:
            extra["images"] = pictures
        return self._encoder.last(
            self._assembler.finish_reasons(), extra, separate_usage=self._chats[0].request.include_usage
        )

    def _name(self, served: str) -> None:
        """All chunks of a stream name the model that answers, as a complete answer does; so far none is written."""
        model = self._known(served) or self._model
        if model is not self._named:
            self._named, self._encoder = model, self._form.encoder(self._id, self._created, model.id)

    def _forward(self, reply: StreamReply, batch: list[Delta]) -> None:
        """One write for everything that one read brought. After the client left, only the meter runs."""
        if reply.disconnected:
            for delta in batch:
                self._assembler.meter(delta)
            return
        arrived = time.perf_counter()
        for delta in batch:
            self._assembler.add(delta)
        record, served, encode = self._record, self._assembler.served.model, self._encoder.encode
        if record.last_output is None and served is not None and served != self._model.upstream_id:
            self._name(served)
            encode = self._encoder.encode
        data = encode(batch[0]) if len(batch) == 1 else b"".join([encode(delta) for delta in batch])
        if not data:
            return
        if self._life.state is State.DISPATCHED:
            self._life.move(State.ANSWERING)
        reply.write(data)
        now = time.perf_counter()
        record.chunks = (record.chunks or 0) + 1
        record.own_seconds += now - arrived
        if record.last_output is None:
            record.first_byte_seconds = now - record.started
        else:
            self._inter_event.observe(now - record.last_output)
        record.last_output = now
