"""A vendor as the exchange sees it: a chat goes in, batches of deltas come out."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Protocol

import aiohttp

from gateway.catalog import Provider
from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import (
    Fault,
    GatewayError,
    model_not_found,
    upstream_error,
    upstream_timeout,
)
from gateway.upstreams.adapter import Adapter, Chat, UpstreamCall
from gateway.upstreams.breaker import Breaker
from gateway.upstreams.stream_decoder import StreamDecoder
from gateway.upstreams.transport import MAX_ANSWER_BYTES, Transport, forget_frames, read_body

_FAREWELL = 1.0


class Keys(Protocol):
    """Where the upstream keys are; they may arrive after the start."""

    def key(self, provider: str) -> str | None: ...


class Upstream:
    """One provider: its adapters by endpoint (``chat``, ``images``), its pool and its key."""

    def __init__(self, provider: Provider, adapters: Mapping[str, Adapter], transport: Transport, keys: Keys) -> None:
        self.provider = provider
        self.transport = transport
        self.breaker = Breaker()
        self._adapters = adapters
        self._keys = keys

    def adapter(self, chat: Chat) -> Adapter:
        """Who translates for the chat's model; raises 503 for an endpoint that nobody serves."""
        try:
            return self._adapters[chat.model.endpoint]
        except KeyError:
            raise GatewayError(
                f"The gateway does not serve '{chat.model.id}' yet",
                status=503,
                type="server_error",
                code="model_unavailable",
                fault=Fault.GATEWAY,
            ) from None

    def require_key(self) -> str:
        """The API key; raises 503 naming the provider."""
        key = self._keys.key(self.provider.id)
        if key is None:
            raise GatewayError(
                f"The provider {self.provider.name} is not configured on this gateway",
                status=503,
                type="server_error",
                code="provider_not_configured",
                fault=Fault.GATEWAY,
                should_retry=False,
            )
        return key

    async def open(self, chat: Chat, call: UpstreamCall) -> "Answering":
        """Send ``call``; the answer's headers have arrived with a good status. Raises GatewayError."""
        adapter = self.adapter(chat)

        def read_error(status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
            return _named(chat, adapter.error(chat, status, headers, body))

        key = self.require_key()
        self.breaker.enter()
        try:
            response = await self.transport.send(call, adapter.authorization(key), read_error)
        except BaseException as error:
            self.breaker.ended(error)
            raise
        self.breaker.ended(None)
        return Answering(chat, adapter, call, response, self.transport.limits.idle)


class Answering:
    """An upstream's answer under way; ``complete`` once it has been read to its proper end."""

    def __init__(
        self, chat: Chat, adapter: Adapter, call: UpstreamCall, response: aiohttp.ClientResponse, idle: float
    ) -> None:
        self._chat = chat
        self._adapter = adapter
        self._call = call
        self._response = response
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._silence: asyncio.TimerHandle | None = None
        self._reading_since: float | None = None
        self._size = 0
        self._fell_silent = False
        self._broke_off = False
        self._closed = False
        self.complete = False

    @property
    def request_id(self) -> str | None:
        """The vendor's own id of the call, when it gives one; what is longer than any id is cut."""
        headers = self._response.headers
        given = headers.get("x-request-id") or headers.get("request-id")
        return given and given[:128]

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    def close(self) -> None:
        """Stop now: the connection is closed, which is what makes vendors stop generating."""
        self._closed = True
        self._response.close()

    async def batches(self) -> AsyncGenerator[list[Delta], None]:
        """Deltas, those of one network read together. Ends early after ``close``; raises GatewayError."""
        try:
            if self._call.stream and self._is_event_stream():
                stream = StreamDecoder(self._adapter.decoder(self._chat))
                while chunk := await self._read():
                    if batch := stream.feed(chunk):
                        yield batch
                    if stream.ended:
                        self._hurry()
                    if stream.failure is not None:
                        raise stream.failure
                yield stream.close(broke_off=self._broke_off)
                if stream.failure is not None:
                    raise stream.failure
            else:
                yield list(self._adapter.answer(self._chat, await read_body(self._response)))
            self.complete = not self._closed
        except GatewayError as error:
            if not self._closed or self._fell_silent:
                raise _named(self._chat, error) from None
        finally:
            self._rest()
            self._response.close()

    def _is_event_stream(self) -> bool:
        """xAI answers a stream request with a JSON error and status 200 at times (facts/providers.md 6.4)."""
        return self._response.content_type != "application/json"

    async def _read(self) -> bytes:
        """What arrives; empty when the connection has ended, and whether the answer was complete is the decoder's."""
        self._reading_since = self._loop.time()
        try:
            chunk = await self._response.content.readany()
        except TimeoutError:
            raise upstream_timeout() from None
        except (aiohttp.ClientError, OSError) as error:
            forget_frames(error)
            if self._fell_silent:
                raise upstream_timeout("The upstream fell silent in the middle of its answer") from None
            self._broke_off = True
            return b""
        self._reading_since = None
        self._size += len(chunk)
        if self._size > MAX_ANSWER_BYTES:
            raise upstream_error("upstream_bad_response", "The upstream's answer is too large")
        if self._silence is None:
            self._silence = self._loop.call_later(self._idle, self._check_silence)
        return chunk

    def _check_silence(self) -> None:
        """One timer for the whole stream; it looks since when a read has been waiting and sleeps on.

        While the client is slower than the upstream nothing is read, and that is not the upstream's silence.
        """
        left = self._idle
        if self._reading_since is not None:
            left += self._reading_since - self._loop.time()
        if left <= 0:
            self._fell_silent = True
            self._response.close()
        else:
            self._silence = self._loop.call_later(left, self._check_silence)

    def _hurry(self) -> None:
        """The vendor's end mark came: the connection may still end cleanly and be reused, but not for long."""
        self._rest()
        self._silence = self._loop.call_later(_FAREWELL, self._response.close)

    def _rest(self) -> None:
        if self._silence is not None:
            self._silence.cancel()


def _named(chat: Chat, error: GatewayError) -> GatewayError:
    """A model the vendor no longer has goes by its public name, with what replaces it."""
    if error.code != "model_not_found":
        return error
    model = chat.model
    retired = "has been retired by its provider" if model.retired(datetime.now(UTC).date()) else "is not available"
    advice = f" Use '{model.replacement}' instead." if model.replacement else ""
    return model_not_found(f"The model '{model.id}' {retired}.{advice}")
