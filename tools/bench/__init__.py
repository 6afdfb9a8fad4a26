"""`python -m tools.bench`: CPU and latency per answer, as ratios to other servers measured in turn."""
