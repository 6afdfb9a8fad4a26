"""Mutation testing of the rooms whose mistakes would be signed or billed: ``python -m tools.mutate``."""
