"""Gemini responses as deltas, complete or in chunks (facts/providers.md 5.7, 5.8, 12.4).

Every chunk is a response of its own whose parts continue those before; counts are cumulative.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.openai_api.deltas import Delta, Finish, MessageField, UpstreamMetadata
from gateway.openai_api.errors import upstream_error, upstream_truncated, upstream_undecodable
from gateway.openai_api.usage import Usage
from gateway.upstreams.adapter import Chat
from gateway.upstreams.gemini.candidate import CandidateDecoder
from gateway.upstreams.gemini.citations import annotations, citations
from gateway.upstreams.gemini.errors import from_body
from gateway.upstreams.gemini.finish_reasons import MALFORMED, finish_reason
from gateway.upstreams.gemini.usage import candidates_of, tier_of, usage_of
from gateway.upstreams.gemini.wire import (
    Candidate,
    CitationSource,
    GroundingMetadata,
    Response,
    UsageMetadata,
    decode,
)
from gateway.upstreams.signature_cache import SignatureCache
from gateway.upstreams.sse import Event


class GeminiDecoder:
    """Decodes one response. ``complete``: it comes in one piece, where no finish reason means an unspecified one."""

    def __init__(self, chat: Chat, signatures: SignatureCache, *, complete: bool = False) -> None:
        self._chat = chat
        self._signatures = signatures
        self._complete = complete
        self._candidates: dict[int, CandidateDecoder] = {}
        self._reasons: dict[int, str] = {}
        self._grounding: dict[int, GroundingMetadata] = {}
        self._sources: dict[int, dict[CitationSource, None]] = {}
        self._searches: set[str] = set()
        self._blocked = False
        self._metadata: tuple[str | None, ...] = ()
        self._scope = str(len(chat.request.messages))
        self._generates_images = "image" in chat.model.outputs

    def feed(self, event: Event) -> Iterable[Delta]:
        return self.decode(event.data) if event.data and event.data != b"[DONE]" else ()

    def decode(self, data: bytes) -> Iterator[Delta]:
        """The deltas of one JSON document: a response, an array of them, or an error.

        An error after a finish reason is ignored: the answer is complete (5.8).
        """
        try:
            responses = decode(data)
        except ValueError:
            if self._ended:
                return
            raise upstream_undecodable() from None
        for response in responses:
            if response.error is None:
                deltas: list[Delta] = []
                try:
                    self._response(response, deltas)
                finally:  # emit the deltas before a part that raises
                    yield from deltas
            elif not self._ended:
                raise from_body(200, response.error)

    def finish(self) -> Iterable[Delta]:
        if not self._ended:
            if self._complete:
                raise upstream_error(
                    "upstream_bad_response", "The upstream's response has no candidates", retryable=True
                )
            raise upstream_truncated()
        if self._blocked and not self._candidates:
            return [Finish("content_filter")]
        deltas: list[Delta] = []
        for choice, decoder in sorted(self._candidates.items()):
            deltas += decoder.finish()
            if found := self._annotations(choice, decoder):
                deltas.append(MessageField("annotations", found, choice))
            reason = self._reasons.get(choice, "SAFETY" if self._blocked else "FINISH_REASON_UNSPECIFIED")
            reason = finish_reason(reason, calls=decoder.calls > 0, content=decoder.produced)
            deltas.append(Finish(reason, choice))
        return deltas

    def _annotations(self, choice: int, decoder: CandidateDecoder) -> list[dict[str, Any]]:
        """The web pages that support the text of a choice, and the sources from which it was recited."""
        grounding, sources = self._grounding.get(choice), self._sources.get(choice)
        pages = annotations(grounding, decoder.text) if grounding else []
        return pages + citations(sources, decoder.text) if sources else pages

    @property
    def _ended(self) -> bool:
        return self._blocked or bool(self._reasons)

    @property
    def _has_images(self) -> bool:
        return any(decoder.images for decoder in self._candidates.values())

    def _response(self, response: Response, deltas: list[Delta]) -> None:
        """Append the deltas of one response."""
        if response.response_id:
            self._scope = f"{response.response_id}/{len(self._chat.request.messages)}"
        metadata = response.usage_metadata
        service_tier = None if metadata is None else metadata.service_tier
        reported = (response.model_version, response.response_id, service_tier)
        if reported != self._metadata and any(reported):
            self._metadata = reported
            tier = tier_of(metadata) if metadata is not None else ""
            deltas.append(
                UpstreamMetadata(model=response.model_version, id=response.response_id, service_tier=tier or None)
            )
        for position, candidate in enumerate(response.candidates or ()):
            self._candidate(candidate.index if candidate.index is not None else position, candidate, deltas)
        if response.prompt_feedback is not None and response.prompt_feedback.block_reason:
            self._blocked = True
        if metadata is not None and (usage := self._usage(metadata)) is not None:
            deltas.append(usage)
        for choice, reason in self._reasons.items():
            if reason in MALFORMED:
                self._malformed(choice, reason, metadata)

    def _usage(self, metadata: UsageMetadata) -> Usage | None:
        """The usage so far, if it has counts; estimated where one is missing, or zero, that cannot be zero."""
        usage = usage_of(metadata, len(self._searches))
        if usage is not None and (
            metadata.prompt_token_count is None
            or (candidates_of(metadata) is None and any(decoder.produced for decoder in self._candidates.values()))
            or (self._generates_images and usage.image_tokens == 0 and self._has_images)
        ):
            return msgspec.structs.replace(usage, estimated=True)
        return usage

    def _malformed(self, choice: int, reason: str, metadata: UsageMetadata | None) -> None:
        """Raise upstream_bad_response, unless the output limit cut the call off: another attempt would end the same."""
        usage = None if metadata is None else usage_of(metadata)
        limit = self._chat.output_tokens
        is_cut = usage is not None and limit is not None and usage.completion_tokens >= limit
        if reason != "MALFORMED_FUNCTION_CALL" or len(self._candidates) > 1 or not is_cut:
            raise upstream_error(
                "upstream_bad_response", f"The model's response was malformed: {reason}", retryable=True
            )
        self._reasons[choice] = "MAX_TOKENS"

    def _candidate(self, choice: int, candidate: Candidate, deltas: list[Delta]) -> None:
        decoder = self._candidates.get(choice)
        if decoder is None:
            decoder = self._candidates[choice] = CandidateDecoder(choice, self._chat, self._signatures)
        try:
            for part in (candidate.content and candidate.content.parts) or ():
                deltas += decoder.feed(part, self._scope)
        except ValueError as error:
            raise upstream_undecodable() from error
        if (grounding := candidate.grounding_metadata) is not None:
            self._searches.update(filter(None, grounding.web_search_queries or ()))  # empty ones are free of charge
            if grounding.grounding_chunks:  # a later chunk may have an empty one
                self._grounding[choice] = grounding
        if (cited := candidate.citation_metadata) is not None and cited.citation_sources:
            self._sources.setdefault(choice, {}).update(dict.fromkeys(cited.citation_sources))  # chunks repeat them
        reason = candidate.finish_reason or ("FINISH_REASON_UNSPECIFIED" if self._complete else None)
        if reason:
            self._reasons[choice] = reason
