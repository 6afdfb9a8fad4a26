"""The client-facing protocol: OpenAI's requests, answers, stream chunks and errors."""
