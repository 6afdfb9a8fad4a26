"""A running gateway in a terminal, live from its metrics."""
