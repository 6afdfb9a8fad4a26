"""OpenAI's models: facts/providers.md 0, 2.2, 2.4."""

from dataclasses import dataclass

from tools.simulators.chat_completions.rendering import Style
from tools.simulators.chat_completions.vendor import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIModel(Model):
    """`sampling`: any value, only the default one, or any value while the reasoning effort is none."""

    sampling: str = "any"
    default_effort: str | None = None
    verbosities: frozenset[str] = frozenset()


PLAIN = Style(
    null_usage=True,
    obfuscation=True,
    annotations=True,
    choice_fields=(("logprobs", None),),
    fields=(("service_tier", "default"), ("system_fingerprint", "fp_a1b2c3d4e5")),
)
REASONING = Style(
    null_usage=True,
    obfuscation=True,
    annotations=True,
    fields=(("service_tier", "default"), ("system_fingerprint", None)),
)

UNSAMPLED = frozenset({"frequency_penalty", "presence_penalty", "logit_bias", "stop", "max_tokens"})
EFFORTS = frozenset({"low", "medium", "high"})
VERBOSITIES = frozenset({"low", "medium", "high"})


def _gpt5(name: str, efforts: frozenset[str], default_effort: str, sampling: str) -> OpenAIModel:
    return OpenAIModel(
        name=name,
        context=272_000,
        reasoning_enabled=default_effort != "none",
        efforts=efforts,
        default_effort=default_effort,
        sampling=sampling,
        refuses=UNSAMPLED,
        verbosities=VERBOSITIES,
        style=REASONING,
    )


def _dated(*models: OpenAIModel) -> dict[str, OpenAIModel]:
    """Every model under its dated id and under its short one."""
    by_name = {model.name: model for model in models}
    return by_name | {model.name[: -len("-2025-01-01")]: model for model in models}


MODELS = _dated(
    OpenAIModel(
        name="gpt-4.1-2025-04-14",
        context=1_047_576,
        refuses=frozenset({"reasoning_effort"}),
        verbosities=frozenset({"medium"}),
        style=PLAIN,
    ),
    OpenAIModel(
        name="gpt-4o-mini-2024-07-18",
        context=128_000,
        refuses=frozenset({"reasoning_effort", "verbosity"}),
        style=PLAIN,
    ),
    _gpt5("gpt-5-2025-08-07", EFFORTS | {"minimal"}, "medium", "default"),
    _gpt5("gpt-5-mini-2025-08-07", EFFORTS | {"minimal"}, "medium", "default"),
    _gpt5("gpt-5.2-2025-12-11", EFFORTS | {"none", "xhigh"}, "none", "without effort"),
    OpenAIModel(
        name="o4-mini-2025-04-16",
        context=200_000,
        retired="shut down 2026-10-23",
        reasoning_enabled=True,
        efforts=EFFORTS,
        default_effort="medium",
        sampling="default",
        refuses=UNSAMPLED | {"parallel_tool_calls", "verbosity"},
        style=REASONING,
    ),
)
