"""The adapter of Anthropic's Messages API (facts/providers.md 3)."""

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import Chat, UpstreamCall
from gateway.upstreams.anthropic import errors, replay, request
from gateway.upstreams.anthropic.answer import AnthropicDecoder
from gateway.upstreams.anthropic.blocks import Output
from gateway.upstreams.anthropic.fences import FenceStripper
from gateway.upstreams.anthropic.turn import Turn
from gateway.upstreams.signature_cache import SignatureCache

VERSION = "2023-06-01"


class AnthropicAdapter:
    """Speaks to Claude. ``signatures`` keeps the thoughts that belong to tool calls, for clients that drop them.

    Anthropic fetches https files itself, so there is never a file to fetch first. Calls without a stream stay so
    however large max_tokens is: the API takes them, and the transport has no total timeout.
    """

    def __init__(self, signatures: SignatureCache) -> None:
        self._signatures = signatures

    def auth_headers(self, key: str) -> Mapping[str, str]:
        return {"x-api-key": key}

    def remote_files(self, chat: Chat) -> Iterable[str]:
        return ()

    def build_request(self, chat: Chat) -> UpstreamCall:
        body, dropped = request.build(chat, self._signatures)
        return UpstreamCall(
            path="/v1/messages",
            body=msgspec.json.encode(body),
            stream=chat.stream,
            headers={"anthropic-version": VERSION},
            dropped=dropped,
        )

    def decode_response(self, chat: Chat, body: bytes) -> Iterable[Delta]:
        decoder = self.decoder(chat)
        return [*decoder.complete(body), *decoder.finish()]

    def decoder(self, chat: Chat) -> AnthropicDecoder:
        paused = chat.paused
        if paused is None:
            output = Output(chat.request.tools, FenceStripper() if request.wants_json_object(chat) else None)
        else:
            output = paused.state
        turn = Turn() if chat.may_pause else None
        return AnthropicDecoder(chat.model, output, partial(self._keep, chat), turn=turn, paused=paused)

    def decode_error(self, chat: Chat, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return errors.from_answer(chat.model, status, headers, body)

    def _keep(self, chat: Chat, output: Output) -> None:
        """Remember the thoughts of an answer with tool calls; that there were none counts only while thinking."""
        if output.thoughts or request.draft(chat, self._signatures).thinking.active:
            replay.remember(chat, self._signatures, output.calls, output.thoughts)
