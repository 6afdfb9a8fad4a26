"""Maps Gemini's finish reasons to OpenAI's (facts/providers.md 5.7)."""

_LENGTH = frozenset({"MAX_TOKENS", "CONTINUATION"})
_FILTERED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
        "NO_IMAGE",
    }
)
MALFORMED = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
    }
)
"""The model's output is unusable; a retry often succeeds."""


def finish_reason(reason: str, *, calls: bool, content: bool) -> str:
    """OpenAI's finish reason for ``reason``, given whether the answer has tool ``calls``, or any ``content``."""
    if reason in _LENGTH:
        return "length"
    if reason in _FILTERED:
        return "content_filter"
    if calls:
        return "tool_calls"
    return "stop" if content or reason == "STOP" else "content_filter"
