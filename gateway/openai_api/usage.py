"""Token usage of one answer, in one convention for all upstreams."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The usage of one answer.

    ``prompt_tokens`` includes cached, cache-written, audio and tool-use tokens; ``completion_tokens`` includes
    reasoning and image tokens; their sum is the total. Each adapter converts its vendor's counts to this
    convention (facts/providers.md 1.4). ``tool_prompt_tokens`` come from a vendor's own tool: they are charged like the
    rest of the prompt unless it was a web search, and do not count for long context rates. ``images`` counts those
    delivered at a flat price.
    ``tier`` is the service tier that the answer reports (``""`` = standard), ``region`` the inference region.
    ``estimated`` marks counts that the vendor did not give, ``unbilled`` those that it reports but does not bill.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_tokens: int = 0
    cached_audio_tokens: int = 0
    reasoning_tokens: int = 0
    completion_audio_tokens: int = 0
    image_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    images: int = 0
    web_searches: int = 0
    tool_prompt_tokens: int = 0
    tier: str = ""
    region: str = ""
    estimated: bool = False
    unbilled: bool = False

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def plausible(self) -> bool:
        """Whether all counts are between zero and ``_MOST``: upstreams may report anything."""
        counts = _counts(self)
        return min(counts) >= 0 and max(counts) <= _MOST

    def __add__(self, other: "Usage") -> "Usage":
        """The sum of two answers to one request (a list of prompts); tier and region are the later answer's."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return Usage(
            **counts,
            tier=other.tier or self.tier,
            region=other.region or self.region,
            estimated=self.estimated or other.estimated,
        )

    def as_openai(self) -> dict[str, Any]:
        """OpenAI's ``usage`` object, with all counts that are priced; rare ones are left out when zero.

        ``cache_write_tokens`` includes those kept for an hour. ``server_tool_use`` and ``inference_geo`` are named as
        by Anthropic (3.11), ``tool_use_tokens`` as by litellm.
        """
        prompt: dict[str, int] = {"cached_tokens": self.cached_tokens, "audio_tokens": self.audio_tokens}
        if self.cached_audio_tokens:
            prompt["cached_audio_tokens"] = self.cached_audio_tokens
        writes = self.cache_write_tokens + self.cache_write_1h_tokens
        if writes:
            prompt["cache_write_tokens"] = writes
        if self.cache_write_1h_tokens:
            prompt["cache_write_1h_tokens"] = self.cache_write_1h_tokens
        if self.tool_prompt_tokens:
            prompt["tool_use_tokens"] = self.tool_prompt_tokens
        completion: dict[str, int] = {
            "reasoning_tokens": self.reasoning_tokens,
            "audio_tokens": self.completion_audio_tokens,
            "accepted_prediction_tokens": self.accepted_prediction_tokens,
            "rejected_prediction_tokens": self.rejected_prediction_tokens,
        }
        if self.image_tokens:
            completion["image_tokens"] = self.image_tokens
        usage: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "prompt_tokens_details": prompt,
            "completion_tokens_details": completion,
        }
        if self.web_searches:
            usage["server_tool_use"] = {"web_search_requests": self.web_searches}
        if self.region:
            usage["inference_geo"] = self.region
        return usage


_MOST = 10**9
"""Far more tokens than any model reads or writes for one request."""
_COUNTS = tuple(field.name for field in msgspec.structs.fields(Usage) if field.type is int)
_counts: Callable[[Usage], tuple[int, ...]] = attrgetter(*_COUNTS)
