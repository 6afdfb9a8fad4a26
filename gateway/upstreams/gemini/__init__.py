"""Google Gemini on the Developer API: generateContent and streamGenerateContent (facts/providers.md 5)."""
