"""Token counts of OpenAI-shaped upstreams in the gateway's convention (facts/providers.md 1.4)."""

from gateway.openai_api.usage import Usage
from gateway.upstreams.openai.wire import CompletionTokensDetails, CompletionUsage, PromptTokensDetails

_STANDARD_TIERS = frozenset({"", "auto", "default", "standard"})


def usage_of(usage: CompletionUsage, service_tier: str, *, reasoning_counted: bool) -> Usage:
    """The vendor's counts. ``reasoning_counted`` decides where it states no total, see ``Dialect``."""
    prompt = usage.prompt_tokens_details or PromptTokensDetails()
    completion = usage.completion_tokens_details or CompletionTokensDetails()
    reasoning = completion.reasoning_tokens or 0
    return Usage(
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=_completion_tokens(usage, reasoning, reasoning_counted),
        cached_tokens=prompt.cached_tokens or 0,
        cache_write_tokens=prompt.cache_write_tokens or 0,
        audio_tokens=prompt.audio_tokens or 0,
        reasoning_tokens=reasoning,
        completion_audio_tokens=completion.audio_tokens or 0,
        accepted_prediction_tokens=completion.accepted_prediction_tokens or 0,
        rejected_prediction_tokens=completion.rejected_prediction_tokens or 0,
        tier="" if service_tier in _STANDARD_TIERS else service_tier,
        estimated=usage.prompt_tokens is None or usage.completion_tokens is None,
    )


def _completion_tokens(usage: CompletionUsage, reasoning: int, reasoning_counted: bool) -> int:
    """Completion tokens including reasoning; the total shows whether the vendor counts reasoning separately (1.4)."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    if usage.total_tokens is None:
        separate = not reasoning_counted
    else:
        separate = usage.total_tokens == prompt + completion + reasoning
    return completion + reasoning if separate else completion
