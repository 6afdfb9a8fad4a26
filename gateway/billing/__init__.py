"""Prices, quotes, authorizations and settlement: everything that touches money."""
