"""Fuzzing of everything that reads bytes from callers and vendors: ``python -m tools.fuzz``."""
