"""Thought signatures on their way back: the carriers that clients return them in (facts/providers.md 1.5, 5.6)."""

from typing import Any

from gateway.openai_api.messages import AssistantMessage, FunctionToolCall
from gateway.upstreams.signature_cache import SignatureCache

FORMAT = "google-gemini-v1"
PICTURE = "picture"
# What Google accepts in place of the signature of a call that it did not make, or that was lost.
SKIP_VALIDATION = "skip_thought_signature_validator"
# Appended to a tool-call id by clients that keep nothing else.
_ID_SUFFIX = "__thought__"


def picture_id(number: int) -> str:
    """Under which id the signature of an answer's picture stands in ``reasoning_details``."""
    return f"{PICTURE}_{number}"


def before(call_id: str) -> str:
    """Under which owner the cache keeps what Google's own tools did before a call."""
    return f"before/{call_id}"


def cache_id(owner: str) -> str:
    """Under which id the cache keeps the signature of a call or a picture; other vendors share the cache."""
    return f"{FORMAT}/{owner}"


def plain_id(call_id: str) -> str:
    """A tool-call id without a signature in it."""
    return call_id.partition(_ID_SUFFIX)[0]


class Seals:
    """The signatures that one assistant message brings back, or that were kept for its caller."""

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

    def picture(self, number: int, url: str) -> str | None:
        """The signature of the message's picture ``number``."""
        return self._details.get(picture_id(number)) or self._cache.get(self._caller, cache_id(PICTURE), PICTURE, url)

    def call(self, call: FunctionToolCall) -> str | None:
        """The signature of one tool call."""
        specific = call.provider_specific_fields or {}
        google = (call.extra_content or {}).get("google")
        function = call.function
        carried = (
            google.get("thought_signature") if isinstance(google, dict) else None,
            self._details.get(call.id),
            function.thought_signature,
            call.thought_signature,
            specific.get("thought_signature"),
            call.id.partition(_ID_SUFFIX)[2],
        )
        for signature in carried:
            if isinstance(signature, str) and signature:
                return signature
        return self._cache.get(self._caller, cache_id(call.id), function.name, function.arguments)

    def invocations(self, call: FunctionToolCall) -> list[dict[str, Any]]:
        """The parts of Google's own tools that came before one tool call; no client can carry them."""
        function = call.function
        kept = cache_id(before(call.id))
        found: list[dict[str, Any]] | None = self._cache.get(self._caller, kept, function.name, function.arguments)
        return found or []
