"""Gemini's response objects, as far as they are read (facts/providers.md 5.7); unknown keys are ignored."""

from typing import Annotated, Any

import msgspec

from gateway.upstreams.lenient_json import decode_repaired, readable_counts


class Blob(msgspec.Struct, rename="camel", gc=False):
    """``data`` is base64, megabytes of it for an image."""

    mime_type: str = ""
    data: str = ""


class PartialArg(msgspec.Struct, rename="camel"):
    """A fragment of an argument and its JSON path; without a value it is null."""

    json_path: str
    string_value: str | None = None
    number_value: float | None = None
    bool_value: bool | None = None


class FunctionCall(msgspec.Struct, rename="camel"):
    """A call that ``will_continue`` is continued by the next parts, which have no name."""

    name: str | None = None
    id: str | None = None
    args: dict[str, Any] | None = None
    partial_args: list[PartialArg] | None = None
    will_continue: bool | None = None


class Part(msgspec.Struct, rename="camel"):
    """``tool_call`` and ``tool_response`` are of a tool of Google's own, which has run already."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: Blob | None = None
    tool_call: dict[str, Any] | None = None
    tool_response: dict[str, Any] | None = None


class Content(msgspec.Struct):
    parts: list[Part] | None = None


class Web(msgspec.Struct):
    uri: str | None = None
    title: str | None = None


class GroundingChunk(msgspec.Struct):
    web: Web | None = None


class Segment(msgspec.Struct, rename="camel"):
    """A range of the answer's text, in UTF-8 bytes of one of its parts; which part is not always stated."""

    start_index: int | None = None
    end_index: int | None = None
    text: str | None = None


class GroundingSupport(msgspec.Struct, rename="camel"):
    segment: Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class GroundingMetadata(msgspec.Struct, rename="camel"):
    web_search_queries: list[str] | None = None
    grounding_chunks: list[GroundingChunk] | None = None
    grounding_supports: list[GroundingSupport] | None = None


class CitationSource(msgspec.Struct, rename="camel", frozen=True):
    """The source of a range of the answer's text, in UTF-8 bytes, that the model has recited."""

    start_index: int | None = None
    end_index: int | None = None
    uri: str | None = None
    title: str | None = None
    license: str | None = None


class CitationMetadata(msgspec.Struct, rename="camel"):
    citation_sources: list[CitationSource] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    content: Content | None = None
    finish_reason: str | None = None
    index: Annotated[int, msgspec.Meta(ge=0)] | None = None
    citation_metadata: CitationMetadata | None = None
    grounding_metadata: GroundingMetadata | None = None


class PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class ModalityCount(msgspec.Struct, rename="camel"):
    modality: str | None = None
    token_count: int | None = None


class UsageMetadata(msgspec.Struct, rename="camel"):
    """Counts that are zero are absent; ``candidates`` exclude thoughts (facts/providers.md 1.4)."""

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: list[ModalityCount] | None = None
    cache_tokens_details: list[ModalityCount] | None = None
    candidates_tokens_details: list[ModalityCount] | None = None
    service_tier: str | None = None


class ErrorBody(msgspec.Struct):
    code: int | None = None
    message: str | None = None
    status: str | None = None
    details: list[dict[str, Any]] | None = None


class Response(msgspec.Struct, rename="camel"):
    """A GenerateContentResponse, or ``{"error": …}`` in its place."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: ErrorBody | None = None


class _UnreadResponse(Response, rename="camel"):
    """A response with its usage as the vendor wrote it."""

    usage_metadata: Any = None


_decode = msgspec.json.Decoder(Response | list[Response]).decode
_decode_unread = msgspec.json.Decoder(_UnreadResponse | list[_UnreadResponse]).decode


def decode(data: bytes) -> list[Response]:
    """The responses in ``data``: one, or the elements of an array. Raises ValueError for anything else."""
    try:
        try:
            decoded = _decode(data)
        except ValueError:
            return decode_repaired(_decode_leniently, data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return decoded if isinstance(decoded, list) else [decoded]


def _decode_leniently(data: bytes) -> list[Response]:
    decoded = _decode_unread(data)
    responses = decoded if isinstance(decoded, list) else [decoded]
    for response in responses:
        response.usage_metadata = readable_counts(response.usage_metadata, UsageMetadata)
    return [*responses]
