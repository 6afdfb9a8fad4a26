"""The adapter of Google's Gemini API."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import Chat, UpstreamCall
from gateway.upstreams.gemini import generation_config, tools
from gateway.upstreams.gemini.contents import Contents
from gateway.upstreams.gemini.decoder import GeminiDecoder
from gateway.upstreams.gemini.errors import from_response
from gateway.upstreams.gemini.parts import remote_urls
from gateway.upstreams.signature_cache import SignatureCache


class GeminiAdapter:
    """generateContent of the Developer API; the base URL has no path.

    ``signatures`` caches the thought signatures for clients that do not return them.
    """

    def __init__(self, signatures: SignatureCache) -> None:
        self._signatures = signatures

    def auth_headers(self, key: str) -> Mapping[str, str]:
        return {"x-goog-api-key": key}

    def remote_files(self, chat: Chat) -> Iterable[str]:
        return remote_urls(chat)

    def build_request(self, chat: Chat) -> UpstreamCall:
        method = "streamGenerateContent?alt=sse" if chat.stream else "generateContent"
        generation_config.check(chat)
        body = self._body(chat)
        return UpstreamCall(
            path=f"/v1beta/models/{chat.model.upstream_id}:{method}",
            body=msgspec.json.encode(body),
            stream=chat.stream,
            dropped=generation_config.dropped_hints(chat),
        )

    def decode_response(self, chat: Chat, body: bytes) -> Iterable[Delta]:
        decoder = GeminiDecoder(chat, self._signatures, complete=True)
        return [*decoder.decode(body), *decoder.finish()]

    def decoder(self, chat: Chat) -> GeminiDecoder:
        return GeminiDecoder(chat, self._signatures)

    def decode_error(self, chat: Chat, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return from_response(status, headers, body)

    def _body(self, chat: Chat) -> dict[str, Any]:
        contents = Contents(chat, self._signatures)
        body: dict[str, Any] = {"contents": contents.turns}
        if contents.system:
            body["systemInstruction"] = {"parts": contents.system}
        body |= tools.translate(chat)
        if config := generation_config.generation_config(chat):
            body["generationConfig"] = config
        if chat.request.safety_settings:
            body["safetySettings"] = chat.request.safety_settings
        if chat.request.service_tier is not None and (tier := generation_config.service_tier(chat)):
            body["serviceTier"] = tier
        if chat.request.store is False:
            body["store"] = False
        return body
