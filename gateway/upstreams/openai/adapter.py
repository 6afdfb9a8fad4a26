"""The adapter of every upstream that speaks OpenAI's chat completions; what differs is its dialect."""

from collections.abc import Iterable, Mapping

import msgspec

from gateway.openai_api.deltas import Delta
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import Chat, UpstreamCall
from gateway.upstreams.error_rules import map_error
from gateway.upstreams.openai import request
from gateway.upstreams.openai.decoder import OpenAIDecoder
from gateway.upstreams.openai.dialects import Dialect
from gateway.upstreams.vendor_errors import parse


class OpenAIAdapter:
    """Chat completions of OpenAI, xAI, BytePlus ModelArk and Nous (facts/providers.md 2, 6, 7, 8)."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def auth_headers(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def remote_files(self, chat: Chat) -> Iterable[str]:
        return ()

    def build_request(self, chat: Chat) -> UpstreamCall:
        body, dropped = request.build(self._dialect, chat)
        return UpstreamCall("/chat/completions", msgspec.json.encode(body), chat.stream, dropped=dropped)

    def decode_response(self, chat: Chat, body: bytes) -> list[Delta]:
        decoder = OpenAIDecoder(self._dialect, chat.request.tools, complete=True)
        return decoder.decode(body) + decoder.finish()

    def decoder(self, chat: Chat) -> OpenAIDecoder:
        return OpenAIDecoder(self._dialect, chat.request.tools)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return map_error(self._dialect.errors, parse(status, headers, body))
