"""The deltas that every adapter produces, from streamed and complete upstream answers alike.

Streamed and non-streamed answers cannot disagree, because one assembler builds both from the same deltas.
``choice`` is the index of the choice (OpenAI's ``n``).
"""

from typing import Any

import msgspec

from gateway.openai_api.usage import Usage


class Text(msgspec.Struct, frozen=True, gc=False):
    """Visible text. ``logprobs`` is OpenAI's ``{content, refusal}`` object for this piece."""

    text: str
    choice: int = 0
    logprobs: dict[str, Any] | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Text of a refusal, OpenAI's ``message.refusal``."""

    text: str
    choice: int = 0


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """A fragment of reasoning.

    ``text`` goes to ``reasoning_content``. With a ``format`` (``anthropic-claude-v1``, ``google-gemini-v1``) the
    fragment also appears in ``reasoning_details``, with ``signature`` or, if encrypted, ``data``; clients send those
    back verbatim. Fragments with the same ``index`` belong to one block. ``id`` is what a signature belongs to: a tool
    call, an image, or the model that gave it and the place of its block.
    """

    text: str = ""
    choice: int = 0
    format: str | None = None
    index: int = 0
    signature: str | None = None
    data: str | None = None
    id: str | None = None


class ToolCallStart(msgspec.Struct, frozen=True, kw_only=True):
    """The start of a tool call. ``index`` numbers the calls of the choice and is unique among them.

    ``type`` is ``function`` or OpenAI's ``custom``. ``arguments`` are all of them where the vendor sends the call
    whole, else their beginning. ``extra_content`` is opaque provider data that the client returns with the call (a
    Gemini signature).
    """

    index: int
    id: str
    name: str
    choice: int = 0
    type: str = "function"
    arguments: str = ""
    extra_content: dict[str, Any] | None = None


class ToolCallArguments(msgspec.Struct, frozen=True, gc=False):
    """A fragment of a tool call's JSON arguments; of a ``custom`` tool's input, when that is its ``type``."""

    index: int
    arguments: str
    choice: int = 0
    type: str = "function"


class Image(msgspec.Struct, frozen=True, gc=False):
    """One complete image: a ``data:`` URI or an https URL."""

    url: str
    choice: int = 0


class MessageField(msgspec.Struct, frozen=True):
    """Another key of the message, OpenAI's or a vendor's (``annotations``, ``audio``, ``encrypted_content``)."""

    name: str
    value: Any
    choice: int = 0


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The finish reason of a choice: stop, length, tool_calls or content_filter."""

    reason: str
    choice: int = 0


class UpstreamMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What the upstream reports of the call: the model that answered, and fields passed on to the client.

    ``moderation`` is OpenAI's moderation result for prompt and answer, if the caller requested it.
    """

    model: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    id: str | None = None
    moderation: dict[str, Any] | None = None


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """In place of ``Finish``: the vendor has paused its answer, and resumes it when the answer so far is sent back.

    ``content`` is the answer so far in the vendor's format, ``state`` the decoder state needed to resume,
    ``output_tokens`` those of the answer so far.
    """

    content: list[dict[str, Any]]
    state: Any
    output_tokens: int
    choice: int = 0


Delta = (
    Text
    | Refusal
    | Reasoning
    | ToolCallStart
    | ToolCallArguments
    | Image
    | MessageField
    | Finish
    | Paused
    | UpstreamMetadata
    | Usage
)
