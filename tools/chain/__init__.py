"""A local chain with payment contracts, and a real x402 facilitator with fault switches on top of it.

`python -m tools.chain` runs both; `LocalChain` (local_chain.py) and `LocalFacilitator` (facilitator.py) are the same
as context managers.
"""
