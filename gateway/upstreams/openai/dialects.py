"""How the OpenAI-shaped upstreams differ, as data (facts/providers.md 1.8, 2, 6, 7, 8).

Adding another OpenAI-compatible provider is one more ``Dialect`` here, its provider and models in
``catalog.toml``, and its line in ``gateway.upstreams.registry``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from gateway.upstreams.error_rules import ErrorRule
from gateway.upstreams.openai.errors import MODELARK_ERRORS, NOUS_ERRORS, OPENAI_ERRORS, XAI_ERRORS


class OutputLimit(Enum):
    """The parameter that carries the output limit."""

    BY_MODEL = "max_completion_tokens where the model requires it, otherwise the caller's parameter"
    MAX_TOKENS = "max_tokens"
    ALWAYS = "the caller's parameter, the model's maximum without one, max_completion_tokens under a payment's limit"


# Hints are dropped where they are not supported, and listed in x-dropped-params.
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
    """One vendor's version of OpenAI's chat completions.

    ``accepts``: parameters to forward; others are dropped if they are hints or in ``ignores``, and refused otherwise.
    ``roles``: roles that are renamed. ``message_names``: messages may have a ``name``. ``message_keys``: keys of an
    assistant message beyond OpenAI's that the vendor takes back. ``allowed_tools``: tool_choice may list several
    tools. ``max_call_id_length``: in characters, None for any length. ``null_content``: an assistant message with
    tool calls may have no content. ``empty_system``: a system message may be empty. ``image_fields``: of an
    ``image_url``, beyond OpenAI's. ``reasoning_counted``: completion_tokens includes reasoning_tokens.
    ``thinking_prompt``: a system text that turns reasoning on, for models without a parameter. ``effort_aliases``:
    efforts that are renamed. ``service_tiers``: None for any. ``user_tag``: the user goes into ``tags``, without which
    the vendor has answered live requests as well. ``errors``: the first matching rule applies.
    """

    accepts: frozenset[str]
    errors: tuple[ErrorRule, ...]
    ignores: frozenset[str] = frozenset()
    output_limit: OutputLimit = OutputLimit.BY_MODEL
    max_stops: int = 4
    roles: Mapping[str, str] = field(default_factory=dict)
    message_names: bool = True
    message_keys: frozenset[str] = frozenset()
    strict_tools: bool = True
    custom_tools: bool = False
    allowed_tools: bool = False
    max_call_id_length: int | None = None
    null_content: bool = True
    empty_system: bool = True
    file_parts: bool = False
    refusal_parts: bool = False
    image_fields: frozenset[str] = frozenset()
    service_tiers: frozenset[str] | None = None
    user_tag: bool = False
    effort_aliases: Mapping[str, str] = field(default_factory=dict)
    reasoning_counted: bool = True
    thinking_prompt: str | None = None
    think_tags: bool = False
    stream_options: Mapping[str, bool] = field(default_factory=lambda: {"include_usage": True})


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
    custom_tools=True,
    allowed_tools=True,
    max_call_id_length=40,
    file_parts=True,
    refusal_parts=True,
    stream_options={"include_usage": True, "include_obfuscation": False},
)

XAI = Dialect(
    accepts=_COMMON | {"logprobs", "parallel_tool_calls", "reasoning_effort", "seed", "top_logprobs", "user"},
    errors=XAI_ERRORS,
    ignores=frozenset({"logit_bias", "web_search_options"}),
    roles={"developer": "system"},
    message_names=False,
    null_content=False,
    empty_system=False,
    strict_tools=False,
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
    output_limit=OutputLimit.ALWAYS,
    roles={"developer": "system"},
    message_keys=frozenset({"reasoning_content", "encrypted_content"}),
    image_fields=frozenset({"image_pixel_limit", "max_pixels", "min_pixels"}),
    service_tiers=frozenset({"default", "flex"}),
    effort_aliases={"none": "minimal", "xhigh": "high", "max": "high"},
)

NOUS = Dialect(
    accepts=_COMMON | {"reasoning_effort", "repetition_penalty", "top_k", "user"},
    errors=NOUS_ERRORS,
    ignores=frozenset({"logit_bias"}),
    output_limit=OutputLimit.MAX_TOKENS,
    roles={"developer": "system"},
    message_names=False,
    user_tag=True,
    strict_tools=False,
    thinking_prompt=(
        "Think before you answer. Put everything you think between <think> and </think>, "
        "and write the answer after the closing tag."
    ),
    think_tags=True,
)
