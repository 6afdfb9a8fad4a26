"""The endpoints, and what they share: reading bodies, serving an exchange, early status, JSON responses."""
