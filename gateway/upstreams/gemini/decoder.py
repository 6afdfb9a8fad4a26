"""Gemini's answer as deltas, whole or in chunks (facts/providers.md 5.7, 5.8, 12.4).

Every chunk is a response of its own whose parts continue the ones before; counts are cumulative.
"""

from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

from gateway.openai_api.deltas import Delta, Finish, MessageField, Served
from gateway.openai_api.errors import upstream_error
from gateway.upstreams.adapter import Chat
from gateway.upstreams.gemini.citations import annotations
from gateway.upstreams.gemini.errors import meaning
from gateway.upstreams.gemini.finish_reasons import BROKEN, finish_reason
from gateway.upstreams.gemini.output import Output
from gateway.upstreams.gemini.usage import tier_of, usage_of
from gateway.upstreams.gemini.wire import Candidate, GroundingMetadata, Response, UsageMetadata, decode
from gateway.upstreams.names import NameMap
from gateway.upstreams.signatures import SignatureCache
from gateway.upstreams.sse import Event


class GeminiDecoder:
    """One answer. ``complete`` says that it comes in one piece, where an absent finish reason means unspecified."""

    def __init__(self, chat: Chat, names: NameMap, signatures: SignatureCache, *, complete: bool = False) -> None:
        self._chat = chat
        self._names = names
        self._signatures = signatures
        self._complete = complete
        self._outputs: dict[int, Output] = {}
        self._reasons: dict[int, str] = {}
        self._grounding: dict[int, GroundingMetadata] = {}
        self._searches: set[str] = set()
        self._blocked = False
        self._served: Served | None = None
        self._response_id = ""

    def feed(self, event: Event) -> Iterator[Delta]:
        if event.data and event.data != b"[DONE]":
            yield from self.take(event.data)

    def take(self, data: bytes) -> Iterator[Delta]:
        """The deltas of one JSON document: a response, an array of them, or an error.

        An error that follows a finish reason is left alone: the answer is complete (5.8).
        """
        try:
            responses = decode(data)
        except ValueError:
            if self._ended:
                return
            raise upstream_error("upstream_bad_response", "The upstream's answer could not be read") from None
        for response in responses:
            if response.error is None:
                yield from self._response(response)
            elif not self._ended:
                raise meaning(200, response.error)

    def finish(self) -> Iterator[Delta]:
        if not self._ended:
            if self._complete:
                raise upstream_error("upstream_bad_response", "The upstream sent no candidate", retryable=True)
            raise upstream_error("upstream_truncated", "The upstream's answer ended before it was complete")
        if self._blocked and not self._outputs:
            yield Finish("content_filter")
        for choice, output in sorted(self._outputs.items()):
            yield from output.finish()
            if grounding := self._grounding.get(choice):
                yield MessageField("annotations", annotations(grounding, output.text), choice)
            reason = self._reasons.get(choice, "SAFETY" if self._blocked else "FINISH_REASON_UNSPECIFIED")
            yield Finish(finish_reason(reason, calls=output.calls > 0, content=output.produced), choice)

    @property
    def _ended(self) -> bool:
        return self._blocked or bool(self._reasons)

    def _response(self, response: Response) -> Iterator[Delta]:
        self._response_id = response.response_id or self._response_id
        yield from self._serve(response)
        for position, candidate in enumerate(response.candidates or ()):
            yield from self._candidate(candidate.index if candidate.index is not None else position, candidate)
        if response.prompt_feedback is not None and response.prompt_feedback.block_reason:
            self._blocked = True
        if response.usage_metadata is not None:
            usage = usage_of(response.usage_metadata, len(self._searches))
            if usage is not None:
                yield usage
        if broken := BROKEN.intersection(self._reasons.values()):
            reason = min(broken).lower().replace("_", " ")
            raise upstream_error("upstream_bad_response", f"The model's answer was broken: {reason}", retryable=True)

    def _serve(self, response: Response) -> Iterator[Served]:
        tier = tier_of(response.usage_metadata or UsageMetadata())
        served = Served(model=response.model_version, id=response.response_id, service_tier=tier or None)
        if served not in (self._served, Served()):
            self._served = served
            yield served

    def _candidate(self, choice: int, candidate: Candidate) -> Iterator[Delta]:
        output = self._outputs.get(choice)
        if output is None:
            output = self._outputs[choice] = Output(choice, self._chat.caller, self._names, self._signatures)
        try:
            for part in (candidate.content and candidate.content.parts) or ():
                yield from output.take(part, self._call_id(choice, output.calls))
        except ValueError as error:
            raise upstream_error("upstream_bad_response", "The upstream's answer could not be read") from error
        if candidate.grounding_metadata is not None:
            self._grounding[choice] = candidate.grounding_metadata
            self._searches.update(candidate.grounding_metadata.web_search_queries or ())
        reason = candidate.finish_reason or ("FINISH_REASON_UNSPECIFIED" if self._complete else None)
        if reason:
            self._reasons[choice] = reason

    def _call_id(self, choice: int, number: int) -> str:
        """An id for a call that Gemini gave none: the same for the same answer to the same conversation."""
        name = f"{self._response_id}/{len(self._chat.request.messages)}/{choice}/{number}"
        return f"call_{uuid5(NAMESPACE_URL, name).hex}"
