"""Prices, quotes, authorizations and settlement of paid requests."""
