"""Gemini's answer as deltas, whole or in chunks (facts/providers.md 5.7, 5.8, 12.4).

Every chunk is a response of its own whose parts continue the ones before; counts are cumulative.
"""

from collections.abc import Iterable, Iterator

import msgspec

from gateway.openai_api.deltas import Delta, Finish, MessageField, Served
from gateway.openai_api.errors import upstream_error
from gateway.upstreams.adapter import Chat
from gateway.upstreams.gemini.citations import annotations
from gateway.upstreams.gemini.errors import meaning
from gateway.upstreams.gemini.finish_reasons import BROKEN, finish_reason
from gateway.upstreams.gemini.output import Output
from gateway.upstreams.gemini.usage import candidates_of, tier_of, usage_of
from gateway.upstreams.gemini.wire import Candidate, GroundingMetadata, Response, decode
from gateway.upstreams.signature_cache import SignatureCache
from gateway.upstreams.sse import Event


class GeminiDecoder:
    """One answer. ``complete`` says that it comes in one piece, where an absent finish reason means unspecified."""

    def __init__(self, chat: Chat, signatures: SignatureCache, *, complete: bool = False) -> None:
        self._chat = chat
        self._signatures = signatures
        self._complete = complete
        self._outputs: dict[int, Output] = {}
        self._reasons: dict[int, str] = {}
        self._grounding: dict[int, GroundingMetadata] = {}
        self._searches: set[str] = set()
        self._blocked = False
        self._served: tuple[str | None, ...] = ()
        self._scope = str(len(chat.request.messages))
        self._draws = "image" in chat.model.outputs

    def feed(self, event: Event) -> Iterable[Delta]:
        return self.take(event.data) if event.data and event.data != b"[DONE]" else ()

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
                deltas: list[Delta] = []
                try:
                    self._response(response, deltas)
                finally:  # what comes before the part that breaks an answer is as good as ever
                    yield from deltas
            elif not self._ended:
                raise meaning(200, response.error)

    def finish(self) -> Iterable[Delta]:
        if not self._ended:
            if self._complete:
                raise upstream_error("upstream_bad_response", "The upstream sent no candidate", retryable=True)
            raise upstream_error("upstream_truncated", "The upstream's answer ended before it was complete")
        if self._blocked and not self._outputs:
            return [Finish("content_filter")]
        deltas: list[Delta] = []
        for choice, output in sorted(self._outputs.items()):
            deltas += output.finish()
            grounding = self._grounding.get(choice)
            if grounding is not None and (cited := annotations(grounding, output.text)):
                deltas.append(MessageField("annotations", cited, choice))
            reason = self._reasons.get(choice, "SAFETY" if self._blocked else "FINISH_REASON_UNSPECIFIED")
            reason = finish_reason(reason, calls=output.calls > 0, content=output.produced)
            deltas.append(Finish(reason, choice))
        return deltas

    @property
    def _ended(self) -> bool:
        return self._blocked or bool(self._reasons)

    @property
    def _drawn(self) -> bool:
        return any(output.pictures for output in self._outputs.values())

    @property
    def _produced(self) -> bool:
        """There is something that has a count; one of zero would be absent."""
        return any(output.produced for output in self._outputs.values())

    def _response(self, response: Response, deltas: list[Delta]) -> None:
        """Add the deltas of one response."""
        if response.response_id:
            self._scope = f"{response.response_id}/{len(self._chat.request.messages)}"
        metadata = response.usage_metadata
        seen = (response.model_version, response.response_id, metadata.service_tier if metadata is not None else None)
        if seen != self._served and any(seen):
            self._served = seen
            tier = tier_of(metadata) if metadata is not None else ""
            deltas.append(Served(model=response.model_version, id=response.response_id, service_tier=tier or None))
        for position, candidate in enumerate(response.candidates or ()):
            self._candidate(candidate.index if candidate.index is not None else position, candidate, deltas)
        if response.prompt_feedback is not None and response.prompt_feedback.block_reason:
            self._blocked = True
        if metadata is not None and (usage := usage_of(metadata, len(self._searches))) is not None:
            if (
                metadata.prompt_token_count is None
                or (self._produced and candidates_of(metadata) is None)
                or (self._draws and usage.image_tokens == 0 and self._drawn)
            ):
                usage = msgspec.structs.replace(usage, estimated=True)
            deltas.append(usage)
        for reason in self._reasons.values():
            if reason in BROKEN:
                raise upstream_error(
                    "upstream_bad_response", f"The model's answer was broken: {reason}", retryable=True
                )

    def _candidate(self, choice: int, candidate: Candidate, deltas: list[Delta]) -> None:
        output = self._outputs.get(choice)
        if output is None:
            output = self._outputs[choice] = Output(choice, self._chat, self._signatures)
        try:
            for part in (candidate.content and candidate.content.parts) or ():
                deltas += output.take(part, self._scope)
        except ValueError as error:
            raise upstream_error("upstream_bad_response", "The upstream's answer could not be read") from error
        if (grounding := candidate.grounding_metadata) is not None:
            self._searches.update(filter(None, grounding.web_search_queries or ()))  # empty ones are free of charge
            if grounding.grounding_chunks:  # a later chunk may bring one that is empty
                self._grounding[choice] = grounding
        reason = candidate.finish_reason or ("FINISH_REASON_UNSPECIFIED" if self._complete else None)
        if reason:
            self._reasons[choice] = reason
