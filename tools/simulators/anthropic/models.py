"""Anthropic's models: facts/providers.md 0, 3.2, 3.7, 3.8, 10.2."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    name: str
    """The id in responses."""
    context: int
    max_output: int
    retired: str = ""
    sampling: bool = True
    """Supports temperature, top_p and top_k."""
    prefill: bool = True
    """The conversation may end with an assistant turn."""
    thinking: frozenset[str] = frozenset({"enabled", "disabled"})
    always_thinks: bool = False
    efforts: frozenset[str] = frozenset()
    native_json: bool = True
    hides_thinking: bool = False
    """`display` defaults to omitted."""
    system_turns: bool = False
    """Supports the role system inside messages."""
    window_includes_output: bool = False
    """Input plus max_tokens must fit the context window."""


EITHER = frozenset({"enabled", "adaptive", "disabled"})
ADAPTIVE = frozenset({"adaptive", "disabled"})

LOW_TO_HIGH = frozenset({"low", "medium", "high"})
LOW_TO_MAX = LOW_TO_HIGH | {"max"}
ALL_EFFORTS = LOW_TO_MAX | {"xhigh"}

_MODELS = (
    Model(
        name="claude-fable-5",
        context=1_000_000,
        max_output=128_000,
        sampling=False,
        prefill=False,
        thinking=frozenset({"adaptive"}),
        always_thinks=True,
        efforts=ALL_EFFORTS,
        hides_thinking=True,
        system_turns=True,
    ),
    Model(
        name="claude-opus-4-8",
        context=1_000_000,
        max_output=128_000,
        sampling=False,
        prefill=False,
        thinking=ADAPTIVE,
        efforts=ALL_EFFORTS,
        hides_thinking=True,
        system_turns=True,
    ),
    Model(
        name="claude-opus-4-7",
        context=1_000_000,
        max_output=128_000,
        sampling=False,
        prefill=False,
        thinking=ADAPTIVE,
        efforts=ALL_EFFORTS,
        hides_thinking=True,
    ),
    Model(
        name="claude-opus-4-6",
        context=1_000_000,
        max_output=128_000,
        prefill=False,
        thinking=EITHER,
        efforts=LOW_TO_MAX,
    ),
    Model(
        name="claude-sonnet-4-6",
        context=1_000_000,
        max_output=128_000,
        prefill=False,
        thinking=EITHER,
        efforts=LOW_TO_MAX,
    ),
    Model(name="claude-opus-4-5-20251101", context=200_000, max_output=64_000, efforts=LOW_TO_HIGH),
    Model(name="claude-sonnet-4-5-20250929", context=200_000, max_output=64_000),
    Model(name="claude-haiku-4-5-20251001", context=200_000, max_output=64_000),
    Model(
        name="claude-sonnet-4-20250514",
        context=200_000,
        max_output=64_000,
        retired="retired 2026-06-15",
        native_json=False,
        window_includes_output=True,
    ),
    Model(
        name="claude-3-7-sonnet-20250219",
        context=200_000,
        max_output=64_000,
        retired="retired 2026-02-19",
        native_json=False,
        window_includes_output=True,
    ),
    Model(
        name="claude-3-5-haiku-20241022",
        context=200_000,
        max_output=8_192,
        retired="retired 2026-02-19",
        thinking=frozenset({"disabled"}),
        native_json=False,
        window_includes_output=True,
    ),
)

ALIASES = {
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
    "claude-sonnet-4-0": "claude-sonnet-4-20250514",
    "claude-3-7-sonnet-latest": "claude-3-7-sonnet-20250219",
    "claude-3-5-haiku-latest": "claude-3-5-haiku-20241022",
}

_BY_NAME = {model.name: model for model in _MODELS}
MODELS = _BY_NAME | {alias: _BY_NAME[name] for alias, name in ALIASES.items()}
