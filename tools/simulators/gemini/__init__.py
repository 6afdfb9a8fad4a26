"""Google's Gemini Developer API: facts/providers.md 5."""
