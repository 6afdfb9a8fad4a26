"""Metrics, request logs and traces: numbers, ids and names, never content, keys or addresses."""
