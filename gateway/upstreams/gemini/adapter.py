"""The adapter of Google's Gemini API (facts/providers.md 5)."""

from collections.abc import Iterable, Mapping

import msgspec

from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import Chat, UpstreamCall
from gateway.upstreams.gemini import errors, request
from gateway.upstreams.gemini.decoder import GeminiDecoder
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
        body, dropped = request.build(chat, self._signatures)
        method = "streamGenerateContent?alt=sse" if chat.stream else "generateContent"
        return UpstreamCall(
            path=f"/v1beta/models/{chat.model.upstream_id}:{method}",
            body=msgspec.json.encode(body),
            stream=chat.stream,
            dropped=dropped,
        )

    def decode_response(self, chat: Chat, body: bytes) -> Iterable[Delta]:
        decoder = GeminiDecoder(chat, self._signatures, complete=True)
        return [*decoder.decode(body), *decoder.finish()]

    def decoder(self, chat: Chat) -> GeminiDecoder:
        return GeminiDecoder(chat, self._signatures)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return errors.from_response(status, headers, body)
