"""Scripted answers: content, usage, errors and delivery faults."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

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
"""Errors that every vendor can simulate, each with the vendor's own status and body.

`proxy_page` is an HTML page of a proxy in front of the vendor, `daily_quota` a 429 that no retry helps.
"""

ERROR_KINDS: frozenset[str] = frozenset(get_args(ErrorKind))

DIRECTIVE = "@sim "


class ScenarioError(ValueError):
    """An invalid scenario: unknown field, wrong type or impossible combination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One tool call of the answer.

    Without a name the first tool is called. Arguments are an object, or text that is sent verbatim (vendors that send
    objects parse it); by default they are generated from the tool's schema.
    """

    name: str | None = None
    arguments: dict[str, Any] | str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawReply:
    """A recorded response, sent byte for byte with one write per element of `chunks`."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    chunks: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One answer; fields left at their defaults are derived from the request (see `tools.simulators.composition`)."""

    text: str | None = None
    reasoning: str | None = None
    redacted: bool = False
    """Anthropic: send the reasoning as a redacted_thinking block."""
    tool_calls: tuple[ToolCall, ...] | None = None
    finish: Finish | None = None
    pictures: int | None = None
    """Number of images in the answer (image models and endpoints only)."""
    picture_bytes: int = 0
    """Minimum size of each image before base64."""
    failed_pictures: int = 0
    """ModelArk: number of failed images inside a 200."""
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
    """Stall after this many events (0: after the headers)."""
    stall_seconds: float | None = None
    """Duration of a stall; None: until the client disconnects."""
    cut_after: int | None = None
    """Close the connection after this many events, without the end of the body."""
    cut_after_bytes: int | None = None
    garbage_at: int | None = None
    """Insert invalid bytes before the event of this number; a JSON response is one event."""
    chunk_bytes: int | None = None
    """Write the body in pieces of this size (1: byte by byte)."""
    comment_at: int | None = None
    """Insert an SSE comment before the event of this number (streams only)."""
    omit_end_marker: bool = False
    json_instead_of_stream: bool = False
    """Answer a streaming request with the complete JSON response (or error)."""

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
    def immediate(self) -> bool:
        """The delivery is neither delayed, split nor broken."""
        return (
            not (self.first_byte_delay or self.event_delay)
            and self.stall_after is None
            and self.cut_after is None
            and self.cut_after_bytes is None
            and self.chunk_bytes is None
        )

    @property
    def counts_events(self) -> bool:
        """The delivery depends on event boundaries."""
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
    """The scenario in a prompt of the form `@sim {…}`, or None; text after the object is ignored."""
    if not text.startswith(DIRECTIVE):
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text[len(DIRECTIVE) :].lstrip())
    except json.JSONDecodeError as error:
        raise ScenarioError(f"@sim is not followed by a JSON object: {error}") from None
    return from_json(value)


def directive(scenario: Mapping[str, Any]) -> str:
    """The prompt that selects a scenario with these fields. Raises ScenarioError."""
    from_json(dict(scenario))
    return DIRECTIVE + json.dumps(scenario)


def split(body: bytes, size: int) -> tuple[bytes, ...]:
    """`body` in pieces of `size` bytes, for `RawReply.chunks`."""
    return tuple(body[start : start + size] for start in range(0, len(body), size))
