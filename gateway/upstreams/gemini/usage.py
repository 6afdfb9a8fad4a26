"""Gemini's token counts in the gateway's convention (facts/providers.md 1.4, 5.7, 5.10)."""

from gateway.openai_api.usage import Usage
from gateway.upstreams.gemini.wire import ModalityCount, UsageMetadata


def usage_of(metadata: UsageMetadata, web_searches: int = 0) -> Usage | None:
    """The usage in ``metadata``, or None if it has no counts yet."""
    prompt, candidates, thoughts = metadata.prompt_token_count, candidates_of(metadata), metadata.thoughts_token_count
    if prompt is None and candidates is None and thoughts is None:
        return None
    return Usage(
        prompt_tokens=(prompt or 0) + (metadata.tool_use_prompt_token_count or 0),
        tool_prompt_tokens=metadata.tool_use_prompt_token_count or 0,
        completion_tokens=(candidates or 0) + (thoughts or 0),
        cached_tokens=metadata.cached_content_token_count or 0,
        audio_tokens=_count(metadata.prompt_tokens_details, "AUDIO"),
        cached_audio_tokens=_count(metadata.cache_tokens_details, "AUDIO"),
        reasoning_tokens=thoughts or 0,
        completion_audio_tokens=_count(metadata.candidates_tokens_details, "AUDIO"),
        image_tokens=_count(metadata.candidates_tokens_details, "IMAGE"),
        web_searches=web_searches,
        tier=tier_of(metadata),
    )


def candidates_of(metadata: UsageMetadata) -> int | None:
    """The tokens of the answer itself; without a count, the total less the prompt, tool use and thoughts.

    None where the total has no output tokens at all, or is less than its parts.
    """
    counted, total, prompt = metadata.candidates_token_count, metadata.total_token_count, metadata.prompt_token_count
    if counted is not None or total is None or prompt is None:
        return counted
    thoughts = metadata.thoughts_token_count or 0
    output = total - prompt - (metadata.tool_use_prompt_token_count or 0)
    return output - thoughts if output > 0 and output >= thoughts else None


def tier_of(metadata: UsageMetadata) -> str:
    """The service tier that served the request; empty for the standard one."""
    tier = (metadata.service_tier or "").lower().removeprefix("service_tier_")
    return "" if tier in ("standard", "unspecified") else tier


def _count(details: list[ModalityCount] | None, modality: str) -> int:
    return sum(detail.token_count or 0 for detail in details if detail.modality == modality) if details else 0
