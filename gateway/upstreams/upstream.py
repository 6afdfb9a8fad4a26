"""One provider: sends a chat and delivers its response as batches of deltas, each as soon as it arrives."""

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
    shutting_down,
    upstream_error,
    upstream_timeout,
)
from gateway.upstreams.adapter import Adapter, Chat, UpstreamCall
from gateway.upstreams.circuit_breaker import CircuitBreaker
from gateway.upstreams.stream_decoder import StreamDecoder
from gateway.upstreams.transport import Transport, read_body

UPSTREAM_REQUEST_ID = "x-upstream-request-id"
_MAX_REQUEST_ID_LENGTH = 128
_SHORTEST_SECRET = 12
"""Length below which an API key is no secret, and may be part of a word."""
_CLOSE_TIMEOUT = 1.0
"""Seconds for the body to end after the vendor's end-of-stream marker, so that the connection can be reused."""

Consumer = Callable[[list[Delta]], None]
"""Gets the deltas of an answer in batches, one per network read."""


class ApiKeys(Protocol):
    """The providers' API keys, which may arrive after startup."""

    def key(self, provider: str) -> str | None: ...


class Upstream:
    """A provider's adapters by endpoint (``chat``, ``images``), its transport, key and circuit breakers."""

    def __init__(
        self, provider: Provider, adapters: Mapping[str, Adapter], transport: Transport, keys: ApiKeys
    ) -> None:
        self.provider = provider
        self.transport = transport
        self.breakers: defaultdict[str, CircuitBreaker] = defaultdict(CircuitBreaker)
        """By model id."""
        self._adapters = adapters
        self._keys = keys

    def adapter(self, chat: Chat) -> Adapter:
        """The adapter for the chat's model. Raises 503 for an endpoint without one."""
        try:
            return self._adapters[chat.model.endpoint]
        except KeyError:
            message = f"The gateway does not serve '{chat.model.id}' yet"
            raise gateway_unavailable("model_unavailable", message) from None

    def require_key(self) -> str:
        """The API key. Raises 503 naming the provider when there is none yet."""
        key = self._keys.key(self.provider.id)
        if key is None:
            message = f"The provider {self.provider.name} is not configured on this gateway"
            raise gateway_unavailable("provider_not_configured", message, should_retry=False)
        return key

    async def open(self, chat: Chat, call: UpstreamCall) -> "UpstreamResponse":
        """Send ``call`` and return its response once the headers have arrived with status 200. Raises GatewayError."""
        adapter = self.adapter(chat)
        key = self.require_key()

        def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
            error = _public_error(chat, key, adapter.decode_error(status, headers, body))
            if (request_id := _header_safe(headers.get("x-request-id") or headers.get("request-id", ""))) is not None:
                error.headers[UPSTREAM_REQUEST_ID] = error.upstream_request_id = request_id
            return error

        breaker = self.breakers[chat.model.id]
        probe = breaker.acquire()
        try:
            response = await self.transport.send(call, adapter.auth_headers(key), decode_error)
        except BaseException as error:
            breaker.release(error, probe=probe)
            raise
        breaker.release(None)
        return UpstreamResponse(chat, adapter, call, response, key, self.transport)


class UpstreamResponse:
    """A response in progress; ``complete`` once it has been read to its end without an error."""

    def __init__(
        self, chat: Chat, adapter: Adapter, call: UpstreamCall, response: Response, key: str, transport: Transport
    ) -> None:
        self._chat = chat
        self._adapter = adapter
        self._call = call
        self._response = response
        self._key = key
        self._transport = transport
        self._close_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.complete = False

    @property
    def request_id(self) -> str | None:
        """The vendor's request id, if it sent one."""
        header = self._response.header
        return _header_safe(header(b"x-request-id") or header(b"request-id"))

    def close(self) -> None:
        """Close the connection, which is what makes vendors stop generating."""
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

    async def run(self, consume: Consumer) -> None:
        """Pass the deltas to ``consume``, one batch per network read, until the end of the response or ``close``.

        Raises GatewayError, and what ``consume`` raises.
        """
        try:
            if self._call.stream and self._is_event_stream():
                await self._stream(consume)
            else:
                consume(list(self._adapter.decode_response(self._chat, await read_body(self._response))))
            self.complete = not self._closed
        except GatewayError as error:
            if not self._closed:
                cut = error.code == "upstream_truncated" and self._transport.closed
                raise shutting_down() if cut else _public_error(self._chat, self._key, error) from None
        finally:
            if self._close_timer is not None:
                self._close_timer.cancel()
            self._response.close()

    async def _stream(self, consume: Consumer) -> None:
        stream = StreamDecoder(self._adapter.decoder(self._chat))

        def on_data(chunk: bytes) -> None:
            if batch := stream.feed(chunk):
                consume(batch)
            if stream.failure is not None:
                raise stream.failure
            if stream.ended and self._close_timer is None:
                self._close_timer = asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self._response.close)

        truncated = False
        try:
            await self._response.stream(on_data, self._transport.limits.read_timeout)
        except ReadTimeoutError:
            raise upstream_timeout("The upstream stopped sending in the middle of its response") from None
        except ResponseTooLargeError:
            raise upstream_error("upstream_bad_response", "The upstream's response is too large") from None
        except TransportError:
            truncated = True  # the decoder knows whether the answer was complete
        consume(stream.close(truncated=truncated))
        if stream.failure is not None:
            raise stream.failure

    def _is_event_stream(self) -> bool:
        """Whether the body can be one.

        Not xAI's occasional JSON error with status 200 (facts/providers.md 6.4), nor the page of a server that is no
        vendor's API.
        """
        kind = self._response.header(b"content-type").partition(";")[0].strip().lower()
        return kind not in ("application/json", "text/html")


def _header_safe(given: str) -> str | None:
    """A vendor's request id, cut to ``_MAX_REQUEST_ID_LENGTH``; None if it is empty, or not valid as a header value."""
    return given[:_MAX_REQUEST_ID_LENGTH] if given and given.isascii() and given.isprintable() else None


def _public_error(chat: Chat, key: str, error: GatewayError) -> GatewayError:
    """``error`` without ``key``; where it is ``model_not_found`` with the model's public name and its replacement."""
    if len(key) >= _SHORTEST_SECRET:
        error.message = error.message.replace(key, "***")
    if error.code != "model_not_found":
        return error
    model = chat.model
    retired = "has been retired by its provider" if model.retired(datetime.now(UTC).date()) else "is not available"
    advice = f" Use '{model.replacement}' instead." if model.replacement else ""
    return model_not_found(f"The model '{model.id}' {retired}.{advice}")
