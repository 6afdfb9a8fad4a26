"""Upstreams that speak OpenAI's chat completions: OpenAI, xAI, ModelArk and Nous as dialects."""
