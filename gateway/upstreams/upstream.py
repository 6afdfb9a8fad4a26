"""A vendor as the exchange sees it: a chat goes in, batches of deltas come out, each in the moment it arrives."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from gateway.catalog import Provider
from gateway.http_client.response import ReadTimeoutError, Response, ResponseTooLargeError, TransportError
from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import (
    GatewayError,
    gateway_unavailable,
    model_not_found,
    upstream_error,
    upstream_timeout,
)
from gateway.upstreams.adapter import Adapter, Chat, UpstreamCall
from gateway.upstreams.breaker import Breaker
from gateway.upstreams.stream_decoder import StreamDecoder
from gateway.upstreams.transport import Transport, read_body

UPSTREAM_REQUEST_ID = "x-upstream-request-id"
_LONGEST_ID = 128
_FAREWELL = 1.0
"""Seconds for the connection to end cleanly after the vendor's end mark, so that it can be used again."""

Consume = Callable[[list[Delta]], None]


class Keys(Protocol):
    """Where the upstream keys are; they may arrive after the start."""

    def key(self, provider: str) -> str | None: ...


class Upstream:
    """One provider: its adapters by endpoint (``chat``, ``images``), its pool and its key."""

    def __init__(self, provider: Provider, adapters: Mapping[str, Adapter], transport: Transport, keys: Keys) -> None:
        self.provider = provider
        self.transport = transport
        self.breakers: defaultdict[str, Breaker] = defaultdict(Breaker)
        """By the models that were asked for."""
        self._adapters = adapters
        self._keys = keys

    def adapter(self, chat: Chat) -> Adapter:
        """Who translates for the chat's model; raises 503 for an endpoint that nobody serves."""
        try:
            return self._adapters[chat.model.endpoint]
        except KeyError:
            message = f"The gateway does not serve '{chat.model.id}' yet"
            raise gateway_unavailable("model_unavailable", message) from None

    def require_key(self) -> str:
        """The API key; raises 503 naming the provider."""
        key = self._keys.key(self.provider.id)
        if key is None:
            message = f"The provider {self.provider.name} is not configured on this gateway"
            raise gateway_unavailable("provider_not_configured", message, should_retry=False)
        return key

    async def open(self, chat: Chat, call: UpstreamCall) -> "Answering":
        """Send ``call``; the answer's headers have arrived with a good status. Raises GatewayError."""
        adapter = self.adapter(chat)

        def read_error(status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
            error = _named(chat, adapter.error(chat, status, headers, body))
            if (request_id := _sane(headers.get("x-request-id") or headers.get("request-id"))) is not None:
                error.headers[UPSTREAM_REQUEST_ID] = request_id
            return error

        key = self.require_key()
        breaker = self.breakers[chat.model.id]
        probe = breaker.enter()
        try:
            response = await self.transport.send(call, adapter.authorization(key), read_error)
        except BaseException as error:
            breaker.ended(error, probe=probe)
            raise
        breaker.ended(None)
        return Answering(chat, adapter, call, response, self.transport.limits.idle)


class Answering:
    """An upstream's answer under way; ``complete`` once it has been read to its proper end."""

    def __init__(self, chat: Chat, adapter: Adapter, call: UpstreamCall, response: Response, idle: float) -> None:
        self._chat = chat
        self._adapter = adapter
        self._call = call
        self._response = response
        self._idle = idle
        self._farewell: asyncio.TimerHandle | None = None
        self._closed = False
        self.complete = False

    @property
    def request_id(self) -> str | None:
        """The vendor's own id of the call, when it gives one."""
        headers = self._response.raw_headers
        given = headers.get(b"x-request-id") or headers.get(b"request-id")
        return None if given is None else _sane(given.decode("latin-1"))

    @property
    def headers(self) -> Mapping[str, str]:
        """By names in lower case."""
        return self._response.headers

    def close(self) -> None:
        """Stop now: the connection is closed, which is what makes vendors stop generating."""
        self._closed = True
        self._response.close()

    @property
    def paused(self) -> bool:
        """Nothing is read for now."""
        return self._response.paused

    def pause_reading(self) -> None:
        """Read nothing for now: the client is slower than the upstream."""
        self._response.pause_reading()

    def resume_reading(self) -> None:
        self._response.resume_reading()

    async def run(self, consume: Consume) -> None:
        """Hand the deltas to ``consume``, those of one network read together, and return at the end or after ``close``.

        Raises GatewayError, and what ``consume`` raises.
        """
        try:
            if self._call.stream and self._is_event_stream():
                await self._stream(consume)
            else:
                consume(list(self._adapter.answer(self._chat, await read_body(self._response))))
            self.complete = not self._closed
        except GatewayError as error:
            if not self._closed:
                raise _named(self._chat, error) from None
        finally:
            if self._farewell is not None:
                self._farewell.cancel()
            self._response.close()

    async def _stream(self, consume: Consume) -> None:
        stream = StreamDecoder(self._adapter.decoder(self._chat))

        def on_data(chunk: bytes) -> None:
            if batch := stream.feed(chunk):
                consume(batch)
            if stream.failure is not None:
                raise stream.failure
            if stream.ended and self._farewell is None:
                self._farewell = asyncio.get_running_loop().call_later(_FAREWELL, self._response.close)

        broke_off = False
        try:
            await self._response.stream(on_data, self._idle)
        except ReadTimeoutError:
            raise upstream_timeout("The upstream fell silent in the middle of its answer") from None
        except ResponseTooLargeError:
            raise upstream_error("upstream_bad_response", "The upstream's answer is too large") from None
        except TransportError:
            broke_off = True  # whether the answer was complete is the decoder's to know
        consume(stream.close(broke_off=broke_off))
        if stream.failure is not None:
            raise stream.failure

    def _is_event_stream(self) -> bool:
        """xAI answers a stream request with a JSON error and status 200 at times (facts/providers.md 6.4)."""
        return self._response.header(b"content-type").partition(";")[0].strip().lower() != "application/json"


def _sane(given: str | None) -> str | None:
    """A vendor's id of a call, cut where it is longer than any id; None for what may not stand in a header."""
    return given[:_LONGEST_ID] if given and given.isascii() and given.isprintable() else None


def _named(chat: Chat, error: GatewayError) -> GatewayError:
    """A model the vendor no longer has goes by its public name, with what replaces it."""
    if error.code != "model_not_found":
        return error
    model = chat.model
    retired = "has been retired by its provider" if model.retired(datetime.now(UTC).date()) else "is not available"
    advice = f" Use '{model.replacement}' instead." if model.replacement else ""
    return model_not_found(f"The model '{model.id}' {retired}.{advice}")
