"""Finds the thought signatures that an assistant message carries (facts/providers.md 1.5, 5.6)."""

from typing import Any

from gateway.openai_api.messages import AssistantMessage, FunctionToolCall
from gateway.upstreams.signature_cache import SignatureCache

FORMAT = "google-gemini-v1"
IMAGE = "picture"
SKIP_VALIDATION = "skip_thought_signature_validator"
"""Google accepts this in place of the signature of a call that it did not make, or whose signature was lost."""
_ID_SUFFIX = "__thought__"
"""Appended to a tool-call id by clients that keep nothing else."""


def image_id(number: int) -> str:
    """The id in ``reasoning_details`` of the signature of an answer's image ``number``."""
    return f"{IMAGE}_{number}"


def invocations_id(call_id: str) -> str:
    """The owner, in the cache, of the server-side tool invocations before a call."""
    return f"before/{call_id}"


def cache_id(owner: str) -> str:
    """The id in the cache, which other vendors share, of the signature of a call or an image."""
    return f"{FORMAT}/{owner}"


def plain_id(call_id: str) -> str:
    """A tool-call id without a signature in it."""
    return call_id.partition(_ID_SUFFIX)[0]


class ThoughtSignatures:
    """The signatures of one assistant message: those that the client returned, else those cached for its caller."""

    def __init__(self, message: AssistantMessage, caller: str, cache: SignatureCache) -> None:
        self._caller = caller
        self._cache = cache
        self._details = {
            detail.id: value
            for detail in message.reasoning_details or ()
            if detail.has_format(FORMAT) and (value := detail.data or detail.signature)
        }

    @property
    def lost(self) -> bool:
        """The client returned none."""
        return not self._details

    @property
    def text(self) -> str | None:
        """The signature of the message's text."""
        return self._details.get(None)

    def image(self, number: int, url: str) -> str | None:
        """The signature of the message's image ``number``."""
        return self._details.get(image_id(number)) or self._cache.get(self._caller, cache_id(IMAGE), IMAGE, url)

    def call(self, call: FunctionToolCall) -> str | None:
        """The signature of one tool call; that of an image, which is not quoted, is none whatever the call's id."""
        specific = call.provider_specific_fields or {}
        google = (call.extra_content or {}).get("google")
        function = call.function
        carriers = (
            google.get("thought_signature") if isinstance(google, dict) else None,
            None if call.id.startswith(IMAGE) else self._details.get(call.id),
            function.thought_signature,
            call.thought_signature,
            specific.get("thought_signature"),
            call.id.partition(_ID_SUFFIX)[2],
        )
        for signature in carriers:
            if isinstance(signature, str) and signature:
                return signature
        return self._cache.get(self._caller, cache_id(call.id), function.name, function.arguments)

    def invocations(self, call: FunctionToolCall) -> list[dict[str, Any]]:
        """The parts of Google's server-side tools before one tool call, from the cache only: no client keeps them."""
        function = call.function
        key = cache_id(invocations_id(call.id))
        found: list[dict[str, Any]] | None = self._cache.get(self._caller, key, function.name, function.arguments)
        return found or []
