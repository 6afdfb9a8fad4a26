"""What a simulator is to answer next: the words, the failure, and how the bytes travel."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import msgspec

Finish = Literal["stop", "length", "content_filter", "refusal"]

ErrorKind = Literal[
    "bad_request",
    "bad_key",
    "missing_key",
    "permission",
    "model_not_found",
    "context_length",
    "content_policy",
    "too_large",
    "rate_limit",
    "daily_quota",
    "billing",
    "overloaded",
    "server_error",
    "timeout",
    "proxy_page",
]
"""Failures that every vendor can be told to answer with; each has its own status and body for them.

`proxy_page` is an HTML page of a proxy in front of the vendor, `daily_quota` a 429 that no retry helps.
"""

ERROR_KINDS: frozenset[str] = frozenset(ErrorKind.__args__)  # type: ignore[attr-defined]

DIRECTIVE = "@sim "


class ScenarioError(ValueError):
    """A scenario that cannot be played: unknown field, wrong type, impossible combination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One tool call of the answer.

    Without a name the first offered tool is called. Arguments are an object, or text that is sent as it is
    (vendors that send objects parse it); without them they are made up from the tool's schema.
    """

    name: str | None = None
    arguments: dict[str, Any] | str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawReply:
    """A recorded answer: sent byte for byte, one write per element of `chunks`."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    chunks: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One answer; a field left at its default follows from the request (see `tools.simulators.composition`)."""

    text: str | None = None
    reasoning: str | None = None
    redacted: bool = False
    """Anthropic: send the reasoning as a redacted_thinking block."""
    tool_calls: tuple[ToolCall, ...] | None = None
    finish: Finish | None = None
    pictures: int | None = None
    """How many pictures come back (picture models and endpoints only)."""
    picture_bytes: int = 0
    """Smallest size of each picture before base64."""
    failed_pictures: int = 0
    """ModelArk: pictures that fail inside a 200."""
    picture_prefix: bool = False
    """xAI: b64_json already carries a data: prefix."""
    model: str | None = None
    """Model name the answer reports."""
    serve_retired: bool = False

    prompt_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    completion_tokens: int | None = None
    """Visible output only, reasoning excluded."""
    reasoning_tokens: int | None = None
    omit_usage: bool = False

    error: ErrorKind | None = None
    error_after: int | None = None
    """Send the error inside the stream, after this many events."""
    error_form: Literal["event", "raw"] | None = None
    """Shape of an error inside a stream: `raw` JSON without framing (Google) or an `event`; default: the vendor's."""
    status: int | None = None
    """HTTP status in place of the error's own, for example 200 for xAI's error JSON."""
    message: str | None = None
    """Text of the error."""
    retry_after: str | None = None
    """Seconds or an HTTP date for the Retry-After header; Google puts seconds into RetryInfo instead."""
    retry_after_ms: int | None = None

    first_byte_delay: float = 0.0
    """Seconds before the status line."""
    event_delay: float = 0.0
    """Seconds before every event."""
    stall_after: int | None = None
    """Fall silent after this many events (0: after the headers)."""
    stall_seconds: float | None = None
    """How long a stall lasts; None: until the client leaves."""
    cut_after: int | None = None
    """Close the connection after this many events, without the end of the body."""
    cut_after_bytes: int | None = None
    garbage_at: int | None = None
    """Put bytes that are no valid event before the event of this number; a JSON answer is one event."""
    chunk_bytes: int | None = None
    """Write the body in pieces of this size (1: byte by byte)."""
    comment_at: int | None = None
    """Put an SSE comment before the event of this number (streams only)."""
    omit_end_marker: bool = False
    json_instead_of_stream: bool = False
    """Answer a stream request with the JSON of the whole answer (or error)."""

    raw: RawReply | None = None

    def __post_init__(self) -> None:
        if self.error is not None and self.error not in ERROR_KINDS:
            raise ScenarioError(f"unknown error kind {self.error!r}; known: {', '.join(sorted(ERROR_KINDS))}")
        if self.error is None and (self.error_after is not None or self.error_form is not None):
            raise ScenarioError("error_after and error_form need an error")
        if self.chunk_bytes is not None and self.chunk_bytes < 1:
            raise ScenarioError("chunk_bytes must be at least 1")
        if self.stall_seconds is not None and self.stall_after is None:
            raise ScenarioError("stall_seconds needs stall_after")

    @property
    def at_once(self) -> bool:
        """Nothing slows, splits or breaks the delivery."""
        return (
            not (self.first_byte_delay or self.event_delay)
            and self.stall_after is None
            and self.cut_after is None
            and self.cut_after_bytes is None
            and self.chunk_bytes is None
        )

    @property
    def counts_events(self) -> bool:
        """The delivery depends on where events begin."""
        return bool(self.event_delay) or self.stall_after is not None or self.cut_after is not None


DEFAULT = Scenario()

_NAMES = frozenset(field.name for field in fields(Scenario))


def from_json(value: Any) -> Scenario:
    """A scenario from decoded JSON; `raw.chunks` are base64 strings, `raw.headers` pairs or an object."""
    if not isinstance(value, dict):
        raise ScenarioError("a scenario is a JSON object")
    if unknown := sorted(value.keys() - _NAMES):
        raise ScenarioError(f"unknown scenario field {unknown[0]!r}")
    raw = value.get("raw")
    if isinstance(raw, dict) and isinstance(raw.get("headers"), dict):
        value = {**value, "raw": {**raw, "headers": list(raw["headers"].items())}}
    try:
        return msgspec.convert(value, Scenario)
    except msgspec.ValidationError as error:
        raise ScenarioError(str(error)) from None


def from_directive(text: str) -> Scenario | None:
    """The scenario that a prompt of the form `@sim {…}` asks for; words after the object are ignored."""
    if not text.startswith(DIRECTIVE):
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text[len(DIRECTIVE) :].lstrip())
    except json.JSONDecodeError as error:
        raise ScenarioError(f"@sim is not followed by a JSON object: {error}") from None
    return from_json(value)


def directive(scenario: Mapping[str, Any]) -> str:
    """The prompt that makes a simulator play these scenario fields."""
    from_json(dict(scenario))
    return DIRECTIVE + json.dumps(scenario)


def split(body: bytes, size: int) -> tuple[bytes, ...]:
    """`body` in pieces of `size` bytes, for `RawReply.chunks`."""
    return tuple(body[start : start + size] for start in range(0, len(body), size))
