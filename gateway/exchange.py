"""One request from admission to settlement: admitted, dispatched, answered, signed, settled.

Both endpoints, streamed and not, go through here; nothing else decides the order of payment, upstream call and
signature (gateway.lifecycle).
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

from gateway.answer import Answer, AnswerMetadata
from gateway.billing.payment import Bill, Order, Payment
from gateway.billing.pricing import cost
from gateway.billing.receipt import NO_STORE
from gateway.billing.x402 import PAYMENT_RESPONSE
from gateway.catalog import Model
from gateway.dispatch import Dispatch, Prelude
from gateway.endpoint_formats import EndpointFormat
from gateway.envelope import signed_output
from gateway.http_server.stream_reply import StreamReply
from gateway.keccak import keccak256
from gateway.lifecycle import TRANSITIONS, Lifecycle, State
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Delta, UpstreamMetadata
from gateway.openai_api.errors import GatewayError, internal_error, upstream_error
from gateway.openai_api.stream import ChunkEncoder
from gateway.openai_api.usage import Usage
from gateway.services import Services
from gateway.telemetry.request_record import RequestRecord
from gateway.upstreams.adapter import Adapter, Chat, UpstreamCall
from gateway.upstreams.upstream import UPSTREAM_REQUEST_ID, Upstream

log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400
_MAX_MODEL_NAME = 128
"""Length that a vendor's name for a model unknown to the catalogue is truncated to in logs and traces."""


class Exchange:
    """One request and its answer.

    ``body`` is the caller's request as decoded; the signature covers it. ``chats`` are the upstream calls to make: one,
    or one per prompt of a legacy list. ``prelude`` gives deltas that precede the upstream's own (``echo``). ``started``
    is the reading of ``time.perf_counter`` when the request arrived.
    """

    def __init__(
        self,
        services: Services,
        format_: EndpointFormat,
        body: dict[str, Any],
        chats: list[Chat],
        order: Order,
        record: RequestRecord,
        prelude: Prelude | None = None,
    ) -> None:
        self._services = services
        self._format = format_
        self._body = body
        self._chats = chats
        self._order = order
        self._record = record
        self._prelude = prelude
        self._model: Model = chats[0].model
        self._upstream: Upstream = services.upstreams[self._model.provider]
        self._lifecycle = Lifecycle(record)
        self._assembler = Assembler()
        self._id = format_.new_id()
        self._created = services.clock()
        self._payment: Payment
        self._calls: list[tuple[Chat, UpstreamCall]] = []
        self._dispatch: Dispatch
        self._encoder: ChunkEncoder
        self._described: UpstreamMetadata | None = None
        """What the encoder knows of the upstream; None until there is an encoder."""
        self._inter_event = services.metrics.inter_event(self._upstream.provider.id)
        record.model, record.upstream = self._model.id, self._upstream.provider.id
        record.answer_id = self._id
        self.started = record.started
        self._fetched_bytes = 0

    @property
    def provider(self) -> str:
        """The id of the provider that answers."""
        return self._upstream.provider.id

    async def admit(self) -> None:
        """Do everything that can refuse the request before the upstream is called: key, translation, payment, files.

        The request is translated for the output limit it asks for, and again only if the payment sets a lower one.
        Raises GatewayError.
        """
        try:
            self._upstream.require_key()
            adapter = self._upstream.adapter(self._chats[0])
            remote_files = [url for chat in self._chats for url in adapter.remote_files(chat)]
            requested_limit = None if self._services.settings.payments == "off" else self._order.output_tokens
            for chat in self._chats:
                chat.output_limit = requested_limit
            if not remote_files:
                self._calls = [(chat, adapter.build_request(chat)) for chat in self._chats]
                for _, call in self._calls:
                    if call.replayed_bytes:
                        self._order = self._order.with_replayed(call.replayed_bytes)
            started = time.perf_counter()
            self._payment = await self._services.payments.admit(self._order)
            self._record.payment_seconds = time.perf_counter() - started
            self._record.payment = self._payment.id
        except GatewayError:
            self._lifecycle.transition(State.REFUSED)
            raise
        self._lifecycle.transition(State.ADMITTED)
        if remote_files or self._payment.output_limit != requested_limit:
            await self._fetch_and_translate(adapter)
        self._dispatch = self._create_dispatch()

    def headers(self) -> dict[str, str]:
        """Headers known before the answer: payment, upstream request id, dropped parameters and output limit."""
        headers = dict(self._payment.headers)
        if self._record.upstream_request_id is not None:
            headers[UPSTREAM_REQUEST_ID] = self._record.upstream_request_id
        dropped = {name for _, call in self._calls for name in call.dropped}
        stream_options = self._chats[0].request.stream_options
        if stream_options is not None and stream_options.include_obfuscation:
            dropped.add("stream_options.include_obfuscation")
        if dropped:
            headers["x-dropped-params"] = ",".join(sorted(dropped))
        limit, requested = self._payment.output_limit, self._order.output_tokens
        if limit is not None and (requested is None or limit < requested):
            headers["x-output-limit"] = str(limit)
        return headers

    async def answer(self, disconnected: Callable[[], bool]) -> Answer | None:
        """The complete answer, signed and settled; None if the client has ``disconnected`` when it is complete.

        Vendors bill a call in full whether the client waits or not, so it is always read to its end; a client that
        received nothing of it is not charged (facts/x402.md 4 row 5). Raises GatewayError.
        """
        self._lifecycle.transition(State.DISPATCHED)
        try:
            await self._dispatch.run(self._assembler.extend, None)
        except GatewayError as error:
            await self._release("upstream_failed", error)
            raise
        self._lifecycle.transition(State.ANSWERING)
        if disconnected():
            self._record.client_left = True
            usage, price = self._usage_and_cost(self._served_model(), self._services.clock())
            self._record_usage(usage, price)
            await self._release("client_left", unpaid_usd=price)
            return None
        choices = self._format.choices(self._assembler)
        metadata = await self._sign_and_settle(choices)
        body = {
            "id": self._id,
            "object": self._format.object,
            "created": self._created,
            "model": metadata.model.id,
            "choices": choices,
            **self._format.extras(choices),
            **metadata.fields(),
        }
        return Answer(msgspec.json.encode(body), {**self.headers(), **metadata.headers()})

    async def stream(self, reply: StreamReply, *, usage_on_request: bool) -> bytes:
        """Write the answer to ``reply`` as it arrives; return the last events, with which the caller ends the stream.

        ``usage_on_request``: send usage only if ``stream_options.include_usage`` is set, as OpenAI does. Its Java SDK's
        accumulator passes over the choices of an event with usage, and the finish reason with them.
        Raises GatewayError when the upstream fails: an error status if nothing was sent yet, an event in the stream
        otherwise. What was delivered by then is signed and settled nevertheless.
        """
        failure = await self._forward_all(reply)
        choices = self._format.choices(self._assembler)
        self._record.client_left = reply.disconnected or None
        metadata = await self._sign_and_settle(choices, cut=failure is not None or reply.disconnected)
        if failure is not None:
            raise failure
        extra = {**self._format.extras(choices), **metadata.fields()}
        if images := self._assembler.images:
            extra["images"] = images
        include_usage = self._chats[0].request.include_usage
        if usage_on_request and not include_usage:
            del extra["usage"]
        return self._encoder.last(self._assembler.finish_reasons(), extra, separate_usage=include_usage)

    def reject(self) -> None:
        """Mark a request as refused that was never admitted; no effect on any other."""
        if self._lifecycle.state is State.RECEIVED:
            self._lifecycle.transition(State.REFUSED)

    async def fail(self, cause: Exception) -> GatewayError:
        """Release the payment after an internal error; the error to send.

        Once the answer has been priced it may have been paid for: then the payment stays and the error forbids a retry,
        which would be paid again.
        """
        log.error("unhandled error in request %s", self._record.id, exc_info=cause)
        error = internal_error()
        if State.RELEASED in TRANSITIONS[self._lifecycle.state]:
            await self._release("gateway_failed", error)
        elif self._lifecycle.state is not State.RECEIVED:
            error.should_retry = False
        return error

    async def fail_late(self, failure: Exception) -> GatewayError:
        """Record a failure after the status was sent; the error to send in place of the rest of the answer."""
        error = failure if isinstance(failure, GatewayError) else await self.fail(failure)
        self._services.metrics.count_failure(self._record, error)
        return error

    async def abandon(self) -> None:
        """Release the payment of a request whose client or task is gone."""
        if State.RELEASED in TRANSITIONS[self._lifecycle.state]:
            await self._release("gateway_failed")

    async def _fetch_and_translate(self, adapter: Adapter) -> None:
        """Fetch remote files, and translate with them and the payment's output limit. Raises GatewayError."""
        try:
            for chat in self._chats:
                chat.output_limit = self._payment.output_limit
                self._fetched_bytes += await self._services.fetcher.attach(chat, adapter.remote_files(chat))
            self._calls = [(chat, adapter.build_request(chat)) for chat in self._chats]
        except GatewayError as error:
            await self._release("refused", error)
            raise

    def _create_dispatch(self) -> Dispatch:
        timeout = self._payment.timeout
        return Dispatch(
            self._upstream,
            self._calls,
            self._assembler,
            self._record,
            deadline=None if timeout is None else asyncio.get_running_loop().time() + timeout,
            prelude=self._prelude,
        )

    async def _forward_all(self, reply: StreamReply) -> GatewayError | None:
        """Forward the answer; return the error that cut it. Raises GatewayError, charging nothing, without output."""
        failure: GatewayError | None = None
        self._lifecycle.transition(State.DISPATCHED)
        try:
            await self._dispatch.run(partial(self._forward, reply), reply)
        except GatewayError as error:
            failure = error
        else:
            if self._lifecycle.state is State.DISPATCHED and not reply.disconnected:
                self._lifecycle.transition(State.ANSWERING)  # an answer without output is complete too
        if self._lifecycle.state is State.ANSWERING:
            return failure
        failure = failure or upstream_error("upstream_truncated", "The upstream returned an empty response")
        if reply.disconnected:
            await self._release("client_left", failure, self._cost_so_far())
        else:
            await self._release("upstream_failed", failure)
        raise failure

    def _describe_stream(self, upstream: UpstreamMetadata) -> None:
        """Name the model that answers and its tier in all chunks, as a complete answer does. Before the first chunk."""
        model, served = self._model, upstream.model
        if served is not None and served != model.upstream_id:
            model = self._find_model(served) or model
        if self._described is None:
            self._encoder = self._format.encoder(self._id, self._created, model.id, upstream.service_tier)
        else:
            self._encoder.describe(model.id, upstream.service_tier)
        self._described = upstream

    def _forward(self, reply: StreamReply, batch: list[Delta]) -> None:
        """Write one network read's deltas at once; only meter them once the client has disconnected."""
        if reply.disconnected:
            for delta in batch:
                self._assembler.meter(delta)
            return
        arrived = time.perf_counter()
        for delta in batch:
            self._assembler.add(delta)
        record, upstream = self._record, self._assembler.metadata
        if record.last_output is None and upstream is not self._described:
            self._describe_stream(upstream)
        encode = self._encoder.encode
        data = encode(batch[0]) if len(batch) == 1 else b"".join([encode(delta) for delta in batch])
        if not data:
            return
        reply.write(data)
        now = time.perf_counter()
        record.chunks = (record.chunks or 0) + 1
        record.own_seconds += now - arrived
        if record.last_output is None:
            record.first_byte_seconds = now - record.started
            if not reply.disconnected:
                self._lifecycle.transition(State.ANSWERING)
        else:
            self._inter_event.observe(now - record.last_output)
        record.last_output = now

    async def _sign_and_settle(self, choices: list[dict[str, Any]], *, cut: bool = False) -> AnswerMetadata:
        """Price, sign and settle the answer, or its part. Raises GatewayError if the payment refuses the bill."""
        self._release_files()
        served = self._served_model()
        now = self._services.clock()
        usage, price = self._usage_and_cost(served, now)
        request_hash = keccak256(self._format.canonical(self._body))
        envelope = self._services.signer.sign(request_hash, signed_output(choices), now)
        self._lifecycle.transition(State.SIGNED)
        self._record_usage(usage, price)
        bill = Bill(model=served, usage=usage, cost_usd=price, envelope=envelope, cut=cut)
        self._lifecycle.transition(State.SETTLING)
        started = time.perf_counter()
        try:
            receipt = await self._payment.settle(bill)
        except GatewayError:
            self._lifecycle.transition(State.REFUSED)
            raise
        finally:
            self._record.payment_seconds = (self._record.payment_seconds or 0.0) + time.perf_counter() - started
        self._lifecycle.transition(State.SETTLED)
        if receipt.payment is not None:
            self._record.payment_status = receipt.payment["status"]
        return AnswerMetadata(served, usage, envelope, receipt, self._assembler.metadata)

    def _usage_and_cost(self, served: Model, now: int) -> tuple[Usage, Decimal]:
        """Total usage and USD cost of all calls, each priced separately: long prompts have rates of their own."""
        today = _utc_date(now // _DAY_SECONDS)
        first, *others = self._dispatch.usages()
        price = cost(served, first, today)
        for usage in others:
            first += usage
            price += cost(served, usage, today)
        return first, price

    def _cost_so_far(self) -> Decimal | None:
        """The USD cost of the calls made; None if the upstream has answered none."""
        if not self._dispatch.usages():
            return None
        return self._usage_and_cost(self._served_model(), self._services.clock())[1]

    def _served_model(self) -> Model:
        """The model that answered; one unknown to the catalogue counts as the requested one."""
        name = self._assembler.metadata.model
        if name is None or name == self._model.upstream_id:
            return self._model
        served = self._find_model(name)
        if served is None:
            self._services.metrics.unknown_served.labels(self._upstream.provider.id).inc()
            self._record.served_model = name[:_MAX_MODEL_NAME]
            return self._model
        if served is not self._model:
            self._record.served_model = served.id
        return served

    def _find_model(self, name: str) -> Model | None:
        """The same vendor's model called ``name``, if the catalogue has it."""
        served = self._services.catalog.get(name)
        return served if served is not None and served.provider == self._model.provider else None

    def _record_usage(self, usage: Usage, price: Decimal) -> None:
        record = self._record
        record.prompt_tokens, record.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        record.estimated = usage.estimated or None
        record.cost_usd = f"{price:f}"
        record.finish_reasons = [reason for reason in self._assembler.finish_reasons().values() if reason]
        self._services.metrics.count_usage(self._model.id, self._upstream.provider.id, usage)

    async def _release(self, reason: str, error: GatewayError | None = None, unpaid_usd: Decimal | None = None) -> None:
        """Release the payment; if it was settled upfront, ``error`` gets the receipt's headers and forbids a retry."""
        self._lifecycle.transition(State.RELEASED)
        self._release_files()
        if error is not None and PAYMENT_RESPONSE in self._payment.headers:
            error.headers |= {**self._payment.headers, **NO_STORE}
            error.should_retry = False
        await self._payment.release(reason, unpaid_usd)

    def _release_files(self) -> None:
        """Return the memory of fetched files to the fetcher's budget."""
        self._services.fetcher.release(self._fetched_bytes)
        self._fetched_bytes = 0


@lru_cache(maxsize=2)
def _utc_date(days: int) -> date:
    """The UTC date ``days`` days after the epoch."""
    return datetime.fromtimestamp(days * _DAY_SECONDS, UTC).date()
