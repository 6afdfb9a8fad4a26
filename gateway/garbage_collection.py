"""Python's cyclic garbage collector, made rare while serving.

Requests leave no reference cycles behind. By default the collector would scan the young objects several times per
request, and everything created at the start in vain.
"""

import gc

THRESHOLD = 50_000
"""Threshold of the young generation: allocations minus deallocations before it is collected."""


def freeze() -> None:
    """Exempt all present objects from collection; call it when everything long-lived has been created."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, 10, 10)
