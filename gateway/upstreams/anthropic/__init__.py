"""Anthropic's Messages API."""

from gateway.upstreams.anthropic.adapter import AnthropicAdapter

__all__ = ["AnthropicAdapter"]
