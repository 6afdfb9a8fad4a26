"""An OpenAI-compatible LLM gateway whose answers can be verified."""

__version__ = "0.1.0"
