"""The models that each conformance case runs against: every vendor, and every group of models that differs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """``shows_thoughts``: requested reasoning is returned as text."""

    model: str
    provider: str
    shows_thoughts: bool = True

    def find(self, table: dict[str, str], *, stream: bool) -> str | None:
        """Look up a table keyed by model or vendor, either followed by " streamed" where streaming matters."""
        names = (self.model, self.provider)
        return next((table[key] for name in names for key in (f"{name} streamed" * stream, name) if key in table), None)


CHAT_TARGETS = (
    Target("gpt-4.1", "openai", shows_thoughts=False),
    Target("gpt-5.2", "openai", shows_thoughts=False),
    Target("grok-4.3", "xai"),
    Target("seed-1.8", "bytedance"),
    Target("hermes-4-405b", "nous"),
    Target("claude-haiku-4-5", "anthropic"),
    Target("claude-sonnet-4-6", "anthropic"),
    Target("claude-fable-5", "anthropic"),
    Target("claude-sonnet-4-0", "anthropic"),
    Target("gemini-2.5-flash", "google"),
    Target("gemini-3.5-flash", "google"),
)

PICTURE_TARGETS = (
    Target("grok-2-image", "xai"),
    Target("grok-imagine-image", "xai"),
    Target("seedream-4.0", "bytedance"),
    Target("gemini-2.5-flash-image", "google"),
    Target("gemini-3.1-flash-image", "google"),
)
