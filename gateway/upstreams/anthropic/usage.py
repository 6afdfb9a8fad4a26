"""Anthropic's token counts in the gateway's convention (facts/providers.md 1.4, 3.11, 3.12)."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.openai_api.usage import Usage

_MOST_FOUND_TOKENS = 12_000
"""As many as a search is quoted at."""
_TIERS = {"priority": "priority", "batch": "batch"}


class UsageCounter:
    """The counts of one message: those of its start, updated by later events.

    Anthropic's ``input_tokens`` exclude both cache counts; ``output_tokens`` are cumulative and include thinking.
    ``caches_for_an_hour`` says whether all that the request has cached lives for an hour.
    """

    def __init__(self, caches_for_an_hour: Callable[[], bool]) -> None:
        self._caches_for_an_hour = caches_for_an_hour
        self._counts: dict[str, Any] = {}
        self._reported = False
        self._final = False
        self._waived = False
        self._searches = self._found_tokens = 0

    def start(self, counts: Mapping[str, Any] | None) -> Usage:
        """Start a message, discarding the counts of one before. Its output count is provisional."""
        self._counts = {}
        self._searches = self._found_tokens = 0
        usage = self.update(counts)
        self._final = False
        return usage

    def update(self, counts: Mapping[str, Any] | None) -> Usage:
        """Update the counts; a null, or a count that is not a number, leaves the older one unchanged."""
        for name, value in (counts or {}).items():
            self._reported = True
            if type(value) is int or (value is not None and name not in _NUMBERS):
                self._counts[name] = value
                self._final |= name == "output_tokens"
        return self._usage()

    def search(self, result: Mapping[str, Any]) -> Usage | None:
        """Count a search by its result block until the final counts; None if there is nothing to add it to.

        Searches that fail are free. What is found is read as text, of about four bytes per token.
        """
        found = result.get("content")
        if not self._reported or not isinstance(found, list):
            return None
        self._searches += 1
        size = sum(len(str(page.get("encrypted_content"))) for page in found if isinstance(page, dict))
        self._found_tokens += min(size * 3 // 16, _MOST_FOUND_TOKENS)
        return self._usage()

    def waive(self) -> None:
        """Have the counts reported as unbilled if they hold no output tokens."""
        self._waived = True

    def provisional(self) -> Usage | None:
        """The reported counts, marked as estimated, if input or final output tokens are missing; None otherwise."""
        if not self._reported or (self._final and "input_tokens" in self._counts):
            return None
        return msgspec.structs.replace(self._usage(), estimated=True)

    def _usage(self) -> Usage:
        counts = self._counts
        uncached, output, read, written, written_5m, written_1h, thinking, searches = _numbers(counts)
        if written_5m + written_1h != written:
            written_5m, written_1h = self._split_writes(written, written_5m, written_1h)
        if not self._final:
            uncached, searches = uncached + self._found_tokens, max(searches, self._searches)
        return Usage(
            prompt_tokens=uncached + read + written_5m + written_1h,
            completion_tokens=output,
            cached_tokens=read,
            cache_write_tokens=written_5m,
            cache_write_1h_tokens=written_1h,
            reasoning_tokens=thinking,
            web_searches=searches,
            tier="fast" if counts.get("speed") == "fast" else _TIERS.get(str(counts.get("service_tier")), ""),
            region="us" if counts.get("inference_geo") == "us" else "",
            unbilled=self._waived and not output,
        )

    def _split_writes(self, written: int, written_5m: int, written_1h: int) -> tuple[int, int]:
        """The writes of five minutes and of an hour, for a total that does not agree with its parts.

        A stream's total grows without them, as its web searches do. Without any parts all are of five minutes (1.4).
        """
        if isinstance(self._counts.get("cache_creation"), dict) and self._caches_for_an_hour():
            return written_5m, max(written - written_5m, written_1h)
        return max(written - written_1h, written_5m), written_1h


_PATHS = (
    ("input_tokens",),
    ("output_tokens",),
    ("cache_read_input_tokens",),
    ("cache_creation_input_tokens",),
    ("cache_creation", "ephemeral_5m_input_tokens"),
    ("cache_creation", "ephemeral_1h_input_tokens"),
    ("output_tokens_details", "thinking_tokens"),
    ("server_tool_use", "web_search_requests"),
)

_NUMBERS = frozenset(path[0] for path in _PATHS if len(path) == 1)


def _numbers(counts: dict[str, Any]) -> list[int]:
    """The count at each of ``_PATHS``, 0 where it is missing or not a number."""
    numbers = []
    for path in _PATHS:
        value: Any = counts
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        numbers.append(value if isinstance(value, int) else 0)
    return numbers
