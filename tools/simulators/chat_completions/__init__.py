"""The four vendors that speak OpenAI's chat/completions, each with its own habits."""
