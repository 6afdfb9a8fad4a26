"""Several processes that are one gateway: one identity, one injection, one set of metrics.

A supervisor without an event loop accepts connections and hands them out in turn, because the kernel's own spreading
(SO_REUSEPORT) goes by a hash of addresses and leaves a few busy connections on one worker. It makes the keys before it
forks, so that a worker that is lost comes back with the same identity.
"""
