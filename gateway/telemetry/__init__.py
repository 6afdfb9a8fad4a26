"""Metrics, request logs and traces. They hold numbers, ids and names, never content, keys or addresses."""
