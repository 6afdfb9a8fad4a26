"""What an answer is made of: small typed pieces that every adapter produces, streamed or not.

Streamed and non-streamed answers cannot disagree, because both are the same deltas put together by one assembler.
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
    """A piece of thought.

    ``text`` is what ``reasoning_content`` shows. With a ``format`` (``anthropic-claude-v1``, ``google-gemini-v1``)
    the piece also appears in ``reasoning_details``, with ``signature`` or, for a sealed one, ``data``; clients send
    those back verbatim. Pieces with the same ``index`` belong to one block. ``id`` is the tool call it belongs to.
    """

    text: str = ""
    choice: int = 0
    format: str | None = None
    index: int = 0
    signature: str | None = None
    data: str | None = None
    id: str | None = None


class ToolCallStart(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a tool call. ``index`` counts the calls of the choice and is never shared by two calls.

    ``type`` is ``function`` or OpenAI's ``custom``. ``extra_content`` is opaque provider data that the client
    returns with the call (a Gemini signature).
    """

    index: int
    id: str
    name: str
    choice: int = 0
    type: str = "function"
    extra_content: dict[str, Any] | None = None


class ToolCallArguments(msgspec.Struct, frozen=True, gc=False):
    """A fragment of a tool call's JSON arguments; of a ``custom`` tool's input, when that is its ``type``."""

    index: int
    arguments: str
    choice: int = 0
    type: str = "function"


class Image(msgspec.Struct, frozen=True, gc=False):
    """One complete picture: a ``data:`` URI or an https URL."""

    url: str
    choice: int = 0


class MessageField(msgspec.Struct, frozen=True):
    """A vendor's or OpenAI's further message key (``annotations``, ``audio``, ``encrypted_content``)."""

    name: str
    value: Any
    choice: int = 0


class Finish(msgspec.Struct, frozen=True, gc=False):
    """Why a choice ended: stop, length, tool_calls or content_filter."""

    reason: str
    choice: int = 0


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What the upstream says of itself: the model that answered, and what else travels to the client.

    ``moderation`` is OpenAI's verdict on prompt and answer, for a caller that asked for one.
    """

    model: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    id: str | None = None
    moderation: dict[str, Any] | None = None


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """In place of ``Finish``: the vendor has interrupted its answer, and goes on when it is asked again with it.

    ``content`` is the answer so far in the vendor's own form, ``state`` what its decoder has to know to go on.
    ``spent`` is the number of output tokens so far.
    """

    content: list[dict[str, Any]]
    state: Any
    spent: int
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
    | Served
    | Usage
)
