"""Anthropic's Messages API: facts/providers.md 3."""
