"""The contract between the gateway and a vendor: pure translation, no I/O.

An adapter encodes a chat as one HTTP request and decodes the response into deltas. It has no access to sockets,
clocks or prices, and sees the API key only to build its header.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from gateway.catalog import Model
from gateway.openai_api.deltas import Delta, Paused
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import ChatRequest
from gateway.upstreams.sse import Event


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file fetched for a vendor that takes files as bytes only."""

    media_type: str
    data: bytes


@dataclass(slots=True)
class Chat:
    """A validated chat request bound for one model: every tool call has its results, directly after it.

    ``body`` is the caller's decoded JSON, ``request`` the same, typed. ``output_limit`` is the payment's cap on output
    tokens (thinking included), None where no payment limits them. ``caller`` identifies the caller for caches that
    must not mix callers; they store it hashed only. ``attachments`` are the fetched files by URL. ``paused`` is the
    interrupted answer that this chat resumes.
    """

    body: dict[str, Any]
    request: ChatRequest
    model: Model
    output_limit: int | None = None
    caller: str = field(default="", repr=False)
    attachments: dict[str, Attachment] = field(default_factory=dict)
    paused: Paused | None = None

    @property
    def stream(self) -> bool:
        return bool(self.request.stream)

    @property
    def may_pause(self) -> bool:
        """The vendor runs server-side tools for this answer and may interrupt it (``Paused``)."""
        return bool(self.request.web_search) or self.request.web_search_options is not None

    @property
    def output_tokens(self) -> int | None:
        """The lower of the caller's and the payment's output limit, capped by the model's; None when neither is set."""
        requested, covered = self.request.output_tokens, self.output_limit
        if requested is None and covered is None:
            return None
        return min([limit for limit in (requested, covered, self.model.max_output_tokens) if limit is not None])


class UpstreamCall(msgspec.Struct):
    """One POST request to an upstream.

    ``path`` is relative to the upstream's base URL and starts with a slash. ``body`` is encoded JSON. ``stream`` is
    true when it requests an event stream. ``dropped`` names the caller's hints that this upstream does not support.
    ``replayed_bytes`` is the size of the thoughts that the caller's body does not have, added from a cache.
    ``resent`` is the reading of ``time.perf_counter`` when it was last sent again; 0 if it was sent once.
    """

    path: str
    body: bytes
    stream: bool
    headers: Mapping[str, str] = {}
    dropped: tuple[str, ...] = ()
    replayed_bytes: int = 0
    resent: float = 0.0


class Decoder(Protocol):
    """Decodes the events of one stream, fed in order."""

    def feed(self, event: Event) -> Iterable[Delta]:
        """The deltas of one event. Raises GatewayError for an error event."""
        ...

    def finish(self) -> Iterable[Delta]:
        """The remaining deltas at the end of the stream, ``Finish`` included.

        Raises GatewayError with code upstream_truncated when the vendor's end-of-stream marker is missing.
        """
        ...


class Adapter(Protocol):
    """One vendor's wire format."""

    def auth_headers(self, key: str) -> Mapping[str, str]:
        """The header that carries the API key."""
        ...

    def remote_files(self, chat: Chat) -> Iterable[str]:
        """The https URLs in ``chat`` to fetch before the request, for a vendor that takes files as bytes only."""
        ...

    def build_request(self, chat: Chat) -> UpstreamCall:
        """The request for ``chat``. Raises GatewayError 400 for what the vendor or the model does not support."""
        ...

    def decode_response(self, chat: Chat, body: bytes) -> Iterable[Delta]:
        """The deltas of a complete JSON response, ``Finish`` and ``Usage`` included. Raises GatewayError."""
        ...

    def decoder(self, chat: Chat) -> Decoder:
        """A fresh decoder for one event stream."""
        ...

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """A response with an error status as the caller's error (facts/providers.md 12.7)."""
        ...
