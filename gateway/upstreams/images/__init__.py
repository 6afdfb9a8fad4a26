"""Image models behind the vendors' /images/generations, used as chat models (facts/providers.md 6.6, 7.4, 9)."""
