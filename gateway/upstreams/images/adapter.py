"""The adapter of ``POST /images/generations``, for image models that are used as chat models.

The upstream request is never streamed; a streaming caller gets the deltas of the complete response.
"""

from collections.abc import Iterable, Mapping

import msgspec

from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import Chat, UpstreamCall
from gateway.upstreams.error_rules import map_error
from gateway.upstreams.images import request
from gateway.upstreams.images.decoder import NoStreamDecoder, decode_response
from gateway.upstreams.images.dialects import ImagesDialect
from gateway.upstreams.vendor_errors import parse


class ImagesAdapter:
    """Image generation of xAI and BytePlus ModelArk (facts/providers.md 6.6, 7.4, 9)."""

    def __init__(self, dialect: ImagesDialect) -> None:
        self._dialect = dialect

    def auth_headers(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def remote_files(self, chat: Chat) -> Iterable[str]:
        return ()

    def build_request(self, chat: Chat) -> UpstreamCall:
        body, dropped = request.build(self._dialect, chat)
        return UpstreamCall("/images/generations", msgspec.json.encode(body), stream=False, dropped=dropped)

    def decode_response(self, chat: Chat, body: bytes) -> Iterable[Delta]:
        return decode_response(self._dialect, body)

    def decoder(self, chat: Chat) -> NoStreamDecoder:
        return NoStreamDecoder()

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return map_error(self._dialect.errors, parse(status, headers, body))
