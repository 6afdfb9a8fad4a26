"""Chat completion objects of OpenAI-shaped upstreams, as far as they are read; unknown keys are ignored."""

from typing import Annotated, Any

import msgspec

from gateway.openai_api.errors import upstream_undecodable
from gateway.upstreams.lenient_json import decode_repaired, readable_counts


class Function(msgspec.Struct, gc=False):
    """``arguments`` of a function call, ``input`` of a custom tool call."""

    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Function | None = None


class Message(msgspec.Struct):
    """The ``delta`` of a chunk or the ``message`` of a complete response: the same keys.

    ``function_call`` is the form that tool calls had before there were several.
    """

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    annotations: list[Any] | None = None
    audio: Any = None
    encrypted_content: str | None = None


class Logprobs(msgspec.Struct):
    content: list[Any] | None = None
    refusal: list[Any] | None = None


class Choice(msgspec.Struct):
    index: Annotated[int, msgspec.Meta(ge=0)] = 0
    delta: Message | None = None
    message: Message | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class PromptTokensDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    audio_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionTokensDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class CompletionUsage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


class Chunk(msgspec.Struct):
    """One chunk of a stream, a complete response, or an error in place of either."""

    model: str | None = None
    choices: list[Choice] | None = None
    usage: CompletionUsage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    moderation: Any = None
    error: Any = None
    code: Any = None
    type: Any = None


class _UnreadChunk(Chunk):
    """A chunk with its usage as the vendor wrote it."""

    usage: Any = None


decode_chunk = msgspec.json.Decoder(Chunk).decode
_decode_unread = msgspec.json.Decoder(_UnreadChunk).decode


def decode_broken_chunk(data: bytes) -> Chunk:
    """Decode a chunk that ``decode_chunk`` refused, if only its text or its usage is broken; raises 502."""
    try:
        return decode_repaired(_decode_leniently, data)
    except (ValueError, RecursionError):
        raise upstream_undecodable() from None


def _decode_leniently(data: bytes) -> Chunk:
    chunk = _decode_unread(data)
    chunk.usage = readable_counts(chunk.usage, CompletionUsage)
    return chunk
