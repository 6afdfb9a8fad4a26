"""The contract between the gateway and a vendor: pure translation, no I/O.

An adapter turns a chat into one HTTP call and what comes back into deltas. It knows no sockets, clocks, prices or
keys beyond the header that carries one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from gateway.catalog import Model
from gateway.openai_api.deltas import Delta, Paused
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import ChatRequest
from gateway.upstreams.sse import Event


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file fetched for a vendor that takes bytes only."""

    media_type: str
    data: bytes


@dataclass(slots=True)
class Chat:
    """A validated chat request bound for one model.

    ``body`` is what the caller sent, decoded; ``request`` the same, typed. ``output_limit`` caps the output tokens
    (thinking included) when a payment does; None leaves the caller's limit or the model's. ``caller`` tells
    who asks, for caches that must not mix callers; they keep it hashed only. ``attachments`` are the fetched files by
    their URL.
    ``paused`` is the answer so far, when this is about how it goes on.
    """

    body: dict[str, Any]
    request: ChatRequest
    model: Model
    output_limit: int | None = None
    caller: str = field(default="", repr=False)
    attachments: dict[str, Attachment] = field(default_factory=dict)
    paused: Paused | None = None
    stream: bool = field(init=False)
    may_pause: bool = field(init=False)
    """The vendor runs tools of its own for this answer, which it may interrupt."""

    def __post_init__(self) -> None:
        asked = self.request
        self.stream = bool(asked.stream)
        self.may_pause = bool(asked.web_search) or asked.web_search_options is not None

    @property
    def output_tokens(self) -> int | None:
        """The output limit to ask for: the caller's, under the payment's, under the model's; None when none is set."""
        wanted, limit = self.request.output_tokens, self.output_limit
        if wanted is None or (limit is not None and limit < wanted):
            wanted = limit
        ceiling = self.model.max_output_tokens
        return wanted if wanted is None or ceiling is None or wanted <= ceiling else ceiling


class UpstreamCall(msgspec.Struct):
    """One HTTP request to an upstream.

    ``path`` is relative to the upstream's base URL and starts with a slash. ``body`` is encoded JSON. ``stream``
    says that an event stream is asked for. ``dropped`` names the caller's hints that this upstream cannot take.
    """

    path: str
    body: bytes
    stream: bool
    headers: Mapping[str, str] = MappingProxyType({})
    method: str = "POST"
    dropped: tuple[str, ...] = ()


class Decoder(Protocol):
    """State of one event stream, fed with its events in order."""

    def feed(self, event: Event) -> Iterable[Delta]:
        """The deltas of one event; raises GatewayError for an error inside the stream."""
        ...

    def finish(self) -> Iterable[Delta]:
        """The deltas still owed at the end of the stream, ``Finish`` included.

        Raises GatewayError with code upstream_truncated when the vendor's end mark is missing.
        """
        ...


class Adapter(Protocol):
    """One vendor's wire format."""

    def authorization(self, key: str) -> Mapping[str, str]:
        """The header that carries the API key."""
        ...

    def remote_files(self, chat: Chat) -> Iterable[str]:
        """The https URLs in ``chat`` that have to be fetched first, because the vendor takes bytes only."""
        ...

    def request(self, chat: Chat) -> UpstreamCall:
        """The call for ``chat``; raises a 400 GatewayError for what the vendor or the model cannot do."""
        ...

    def answer(self, chat: Chat, body: bytes) -> Iterable[Delta]:
        """The deltas of a complete JSON answer, ``Finish`` and ``Usage`` included; raises GatewayError."""
        ...

    def decoder(self, chat: Chat) -> Decoder:
        """A fresh decoder for one event stream."""
        ...

    def error(self, chat: Chat, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """What an answer with an error status means to the caller (facts/providers.md 12.7)."""
        ...
