"""How the OpenAI-shaped upstreams differ, as data (facts/providers.md 1.8, 2, 6, 7, 8).

Adding another OpenAI-compatible provider is one more ``Dialect`` here, its provider and models in
``catalog.toml``, and its line in ``gateway.upstreams.registry``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from gateway.upstreams.error_rules import MODELARK_ERRORS, NOUS_ERRORS, OPENAI_ERRORS, XAI_ERRORS, ErrorRule


class Limit(Enum):
    """Under which name the output limit travels."""

    BY_MODEL = "max_completion_tokens where the model wants it, otherwise as the caller spelt it"
    MAX_TOKENS = "max_tokens"
    ALWAYS = "as the caller spelt it, the model's maximum when he gave none, the completion limit under a clamp"


# Hints: left out where they are not understood, and listed in x-dropped-params.
HINTS = frozenset(
    {
        "cache_control",
        "frequency_penalty",
        "image_config",
        "metadata",
        "moderation",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "repetition_penalty",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "top_k",
        "user",
        "verbosity",
    }
)

_EVERYWHERE = frozenset(
    {
        "frequency_penalty",
        "n",
        "presence_penalty",
        "response_format",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    }
)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One vendor's version of OpenAI's chat completions.

    ``accepts``: parameters that may be forwarded; the rest is dropped when it is a hint, or one of ``ignores``, and
    refused otherwise. ``roles``: roles that go under another name. ``message_keys``: keys of an assistant message
    beyond OpenAI's that the vendor takes back. ``allowed_tools``: a tool_choice may list the tools to choose from, in
    place of one. ``longest_call_id``: in characters, None where any length goes. ``null_content``: an assistant message
    with tool calls need have no content. ``empty_system``: a system message may be an empty text.
    ``reasoning_counted``: completion_tokens already includes reasoning_tokens. ``thinking_prompt``: the system text
    that switches thinking on where nothing else does. ``effort_words``: efforts that go under another name.
    ``service_tiers``: None takes every tier. ``user_tag``: who asks is told by one of the request's ``tags``, without
    which no request is valid. ``errors``: first matching rule decides.
    """

    accepts: frozenset[str]
    errors: tuple[ErrorRule, ...]
    ignores: frozenset[str] = frozenset()
    limit: Limit = Limit.BY_MODEL
    max_stops: int = 4
    roles: Mapping[str, str] = field(default_factory=dict)
    named_messages: bool = True
    message_keys: frozenset[str] = frozenset()
    strict_tools: bool = True
    custom_tools: bool = False
    allowed_tools: bool = False
    longest_call_id: int | None = None
    null_content: bool = True
    empty_system: bool = True
    file_parts: bool = False
    refusal_parts: bool = False
    service_tiers: frozenset[str] | None = None
    user_tag: bool = False
    effort_words: Mapping[str, str] = field(default_factory=dict)
    reasoning_counted: bool = True
    thinking_prompt: str | None = None
    think_tags: bool = False
    stream_options: Mapping[str, bool] = field(default_factory=lambda: {"include_usage": True})


OPENAI = Dialect(
    accepts=_EVERYWHERE
    | {
        "audio",
        "logit_bias",
        "logprobs",
        "modalities",
        "moderation",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "top_logprobs",
        "user",
        "verbosity",
        "web_search_options",
    },
    errors=OPENAI_ERRORS,
    custom_tools=True,
    allowed_tools=True,
    longest_call_id=40,
    file_parts=True,
    refusal_parts=True,
    stream_options={"include_usage": True, "include_obfuscation": False},
)

XAI = Dialect(
    accepts=_EVERYWHERE | {"logprobs", "parallel_tool_calls", "reasoning_effort", "seed", "top_logprobs", "user"},
    errors=XAI_ERRORS,
    ignores=frozenset({"logit_bias", "web_search_options"}),
    roles={"developer": "system"},
    named_messages=False,
    null_content=False,
    empty_system=False,
    strict_tools=False,
    reasoning_counted=False,
)

MODELARK = Dialect(
    accepts=_EVERYWHERE
    | {
        "logit_bias",
        "logprobs",
        "parallel_tool_calls",
        "reasoning_effort",
        "repetition_penalty",
        "seed",
        "service_tier",
        "thinking",
        "top_k",
        "top_logprobs",
        "user",
    },
    errors=MODELARK_ERRORS,
    limit=Limit.ALWAYS,
    roles={"developer": "system"},
    message_keys=frozenset({"reasoning_content", "encrypted_content"}),
    service_tiers=frozenset({"default", "flex"}),
    effort_words={"none": "minimal", "xhigh": "high", "max": "high"},
)

NOUS = Dialect(
    accepts=_EVERYWHERE | {"reasoning_effort", "repetition_penalty", "top_k", "user"},
    errors=NOUS_ERRORS,
    ignores=frozenset({"logit_bias"}),
    limit=Limit.MAX_TOKENS,
    roles={"developer": "system"},
    named_messages=False,
    user_tag=True,
    strict_tools=False,
    thinking_prompt=(
        "Think before you answer. Put everything you think between <think> and </think>, "
        "and write the answer after the closing tag."
    ),
    think_tags=True,
)
