"""The endpoints, and what they share: bodies, orders, callers, serving an exchange, early status, JSON responses."""
