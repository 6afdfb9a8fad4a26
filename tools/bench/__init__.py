"""`python -m tools.bench`: what an answer costs, beside others doing the same work in the same minutes."""
