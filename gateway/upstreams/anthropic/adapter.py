"""The adapter of Anthropic's Messages API (facts/providers.md 3)."""

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import Chat, UpstreamCall
from gateway.upstreams.anthropic import errors, replay, request
from gateway.upstreams.anthropic.cache_lifetime import caches_for_an_hour
from gateway.upstreams.anthropic.decoder import AnthropicDecoder
from gateway.upstreams.anthropic.fences import FenceStripper
from gateway.upstreams.anthropic.output import Output
from gateway.upstreams.anthropic.thoughts import Thoughts
from gateway.upstreams.anthropic.turn_recorder import TurnRecorder
from gateway.upstreams.signature_cache import SignatureCache

_VERSION = "2023-06-01"


class AnthropicAdapter:
    """The Messages API. ``signatures`` caches the thinking blocks of tool calls for clients that do not return them.

    Anthropic fetches https files itself, so ``remote_files`` is always empty. Requests are not switched to streaming
    however large max_tokens is: the API takes them, and the transport keeps an idle connection alive. As with every
    vendor, an answer that is not streamed has the transport's first-byte timeout to be complete.
    """

    def __init__(self, signatures: SignatureCache) -> None:
        self._signatures = signatures

    def auth_headers(self, key: str) -> Mapping[str, str]:
        return {"x-api-key": key}

    def remote_files(self, chat: Chat) -> Iterable[str]:
        return ()

    def build_request(self, chat: Chat) -> UpstreamCall:
        body, dropped, replayed_bytes = request.build(chat, self._signatures)
        return UpstreamCall(
            path="/v1/messages",
            body=msgspec.json.encode(body),
            stream=chat.stream,
            headers={"anthropic-version": _VERSION},
            dropped=dropped,
            replayed_bytes=replayed_bytes,
        )

    def decode_response(self, chat: Chat, body: bytes) -> Iterable[Delta]:
        decoder = self.decoder(chat)
        return [*decoder.decode(body), *decoder.finish()]

    def decoder(self, chat: Chat) -> AnthropicDecoder:
        paused = chat.paused
        if paused is None:
            fences = FenceStripper() if request.wants_json_object(chat) else None
            output = Output(chat.request.tools, fences, chat.model.upstream_id, searches=chat.may_pause)
        else:
            output = paused.state
        recorder = TurnRecorder() if chat.may_pause else None
        cache_thinking = partial(self._cache_thinking, chat)
        return AnthropicDecoder(
            output,
            cache_thinking,
            caches_for_an_hour=partial(caches_for_an_hour, chat.request),
            recorder=recorder,
            paused=paused,
        )

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return errors.from_response(status, headers, body)

    def _cache_thinking(self, chat: Chat, output: Output) -> None:
        """Cache the thinking blocks of an answer with tool calls; an empty list only while thinking is active."""
        if output.thinking_blocks or request.draft(chat, self._signatures).thinking.active:
            found = Thoughts(output.thinking_blocks, output.places)
            replay.cache_thinking(chat, self._signatures, output.calls, found)
