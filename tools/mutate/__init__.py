"""Mutation testing of the modules whose mistakes would be signed or billed: ``python -m tools.mutate``."""
