"""How the OpenAI-shaped upstreams differ, as data (facts/providers.md 1.8, 2, 6, 7, 8).

Adding another OpenAI-compatible provider is one more ``Dialect`` here, its provider and models in
``catalog.toml``, and its line in ``gateway.upstreams.registry``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.upstreams.error_rules import ErrorRule
from gateway.upstreams.openai.errors import MODELARK_ERRORS, NOUS_ERRORS, OPENAI_ERRORS, XAI_ERRORS

_COMMON = frozenset(
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
    """One vendor's version of OpenAI's chat completions."""

    accepts: frozenset[str]
    """Parameters to forward; others are dropped if they are hints or in ``ignores``, and refused otherwise."""
    ignores: frozenset[str] = frozenset()
    errors: tuple[ErrorRule, ...]
    """The first matching rule applies."""

    output_limit: Literal["by_model", "max_tokens", "always"] = "by_model"
    """The parameter that carries the output limit. ``by_model``: ``max_completion_tokens`` where the model requires it,
    otherwise the caller's. ``always``: the caller's, with the model's maximum if the caller sets none;
    ``max_completion_tokens`` under a payment's limit."""
    service_tiers: frozenset[str] | None = None
    """None for any."""
    effort_aliases: Mapping[str, str] = field(default_factory=dict)
    """Values of reasoning_effort that are renamed."""
    thinking_prompt: str | None = None
    """A system text that turns reasoning on, for models without a parameter."""
    user_tag: bool = False
    """The user is sent in ``tags``, which the vendor documents as required, though it answers without them."""
    stream_options: Mapping[str, bool] = field(default_factory=lambda: {"include_usage": True})

    roles: Mapping[str, str] = field(default_factory=dict)
    """Roles that are renamed."""
    message_names: bool = True
    """Messages may have a ``name``."""
    message_keys: frozenset[str] = frozenset()
    """Keys of an assistant message beyond OpenAI's that the vendor takes back."""
    null_content: bool = True
    """An assistant message with tool calls may have no content."""
    empty_system: bool = True
    """A system message may be empty."""
    file_parts: bool = False
    refusal_parts: bool = False
    image_fields: frozenset[str] = frozenset()
    """Fields of an ``image_url`` beyond OpenAI's."""

    strict_tools: bool = True
    compiles_tools: bool = False
    """The vendor compiles the parameters of tools, and refuses what it cannot."""
    custom_tools: bool = False
    allowed_tools: bool = False
    """tool_choice may list several tools."""
    max_call_id_length: int | None = None
    """In characters; None for any length."""

    reasoning_counted: bool = True
    """completion_tokens includes reasoning_tokens."""
    think_tags: bool = False
    """Reasoning is in ``<think>`` tags at the start of the content."""


OPENAI = Dialect(
    accepts=_COMMON
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
    stream_options={"include_usage": True, "include_obfuscation": False},
    file_parts=True,
    refusal_parts=True,
    custom_tools=True,
    allowed_tools=True,
    max_call_id_length=40,
)

XAI = Dialect(
    accepts=_COMMON | {"logprobs", "parallel_tool_calls", "reasoning_effort", "seed", "top_logprobs", "user"},
    ignores=frozenset({"logit_bias", "web_search_options"}),
    errors=XAI_ERRORS,
    roles={"developer": "system"},
    message_names=False,
    null_content=False,
    empty_system=False,
    strict_tools=False,
    compiles_tools=True,
    reasoning_counted=False,
)

MODELARK = Dialect(
    accepts=_COMMON
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
    output_limit="always",
    service_tiers=frozenset({"default", "flex"}),
    effort_aliases={"none": "minimal", "xhigh": "high", "max": "high"},
    roles={"developer": "system"},
    message_keys=frozenset({"reasoning_content", "encrypted_content"}),
    null_content=False,
    image_fields=frozenset({"image_pixel_limit", "max_pixels", "min_pixels"}),
)

NOUS = Dialect(
    accepts=_COMMON | {"reasoning_effort", "repetition_penalty", "top_k", "user"},
    ignores=frozenset({"logit_bias"}),
    errors=NOUS_ERRORS,
    output_limit="max_tokens",
    thinking_prompt=(
        "Think before you answer. Put everything you think between <think> and </think>, "
        "and write the answer after the closing tag."
    ),
    user_tag=True,
    roles={"developer": "system"},
    message_names=False,
    strict_tools=False,
    think_tags=True,
)
