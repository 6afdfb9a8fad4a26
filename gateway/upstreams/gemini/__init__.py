"""Google Gemini on the Developer API: generateContent and streamGenerateContent (facts/providers.md 5)."""

from gateway.upstreams.gemini.adapter import GeminiAdapter

__all__ = ["GeminiAdapter"]
