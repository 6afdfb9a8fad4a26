"""Anthropic's token counts in the gateway's convention (facts/providers.md 1.4, 3.11, 3.12)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.openai_api.usage import Usage

_TIERS = {"priority": "priority", "batch": "batch"}


class UsageCounter:
    """The counts of one message: those of its start, overridden by what later events give.

    Anthropic's ``input_tokens`` leave out both cache counts; ``output_tokens`` are cumulative and include thinking.
    """

    def __init__(self) -> None:
        self._counts: dict[str, Any] = {}
        self._final = False

    def start(self, counts: Mapping[str, Any] | None) -> Usage:
        """A message begins; a restarted one forgets what came before. Its output count is provisional."""
        self._counts = {}
        usage = self.update(counts)
        self._final = False
        return usage

    def update(self, counts: Mapping[str, Any] | None) -> Usage:
        """Newer counts; a null leaves the older one standing."""
        self._counts |= {name: value for name, value in (counts or {}).items() if value is not None}
        self._final = True
        return self._usage()

    def provisional(self) -> Usage | None:
        """What an answer told at its beginning, if it told nothing later: its output is for others to estimate."""
        if self._final or not self._counts:
            return None
        return msgspec.structs.replace(self._usage(), estimated=True)

    def _usage(self) -> Usage:
        counts = self._counts
        written, read = _count(counts, "cache_creation_input_tokens"), _count(counts, "cache_read_input_tokens")
        written_1h = _count(counts, "cache_creation", "ephemeral_1h_input_tokens")
        written_5m = _count(counts, "cache_creation", "ephemeral_5m_input_tokens")
        if written_5m + written_1h != written:
            written_5m = max(written - written_1h, written_5m)
        return Usage(
            prompt_tokens=_count(counts, "input_tokens") + read + written_5m + written_1h,
            completion_tokens=_count(counts, "output_tokens"),
            cached_tokens=read,
            cache_write_tokens=written_5m,
            cache_write_1h_tokens=written_1h,
            reasoning_tokens=_count(counts, "output_tokens_details", "thinking_tokens"),
            web_searches=_count(counts, "server_tool_use", "web_search_requests"),
            tier="fast" if counts.get("speed") == "fast" else _TIERS.get(str(counts.get("service_tier")), ""),
            region="us" if counts.get("inference_geo") == "us" else "",
        )


def _count(counts: Any, *path: str) -> int:
    for key in path:
        counts = counts.get(key) if isinstance(counts, dict) else None
    return counts if isinstance(counts, int) else 0
